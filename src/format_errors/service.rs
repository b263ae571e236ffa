use http::{Request, Response};

use super::FormatErrors;
use crate::{
    body::Body,
    error::Error,
    exchange::{Begun, Exchange, Finish},
    outcome::Outcome,
};

impl<B, F> Exchange<B> for FormatErrors<F>
where
    F: Fn(&Error, Response<Body>) -> Response<Body> + Clone,
{
    type Body = B;
    type Finish = Self;

    fn begin(&self, request: Request<B>) -> Begun<B, Self> {
        Begun::Request(request, Some(self.clone()))
    }
}

impl<F: Fn(&Error, Response<Body>) -> Response<Body>> Finish for FormatErrors<F> {
    fn finish(self, response: Response<Body>) -> Response<Body> {
        let Some(Outcome::Failed { error }) = response.extensions().get() else {
            return response;
        };
        let error = error.clone();
        let mut response = (self.format)(&error, response);
        // The function may have made a new response.
        response.extensions_mut().insert(Outcome::Failed { error });
        response
    }
}
