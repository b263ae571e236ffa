use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;

use super::ConfirmBody;
use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind, Result},
    exchange::{Begun, Exchange, Finish},
    framing::guard,
};

/// Compares a response with the end of the request's body.
#[derive(Debug)]
pub struct Confirm {
    /// The end of the body, once the handler has read it.
    end: Arc<OnceLock<Result<()>>>,
}

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Exchange<B> for ConfirmBody {
    type Body = Body;
    type Finish = Confirm;

    fn begin(&self, request: Request<B>) -> Begun<Body, Confirm> {
        if !matches!(*request.method(), Method::PUT | Method::POST) {
            return Begun::Request(request.map(Body::new), None);
        }
        let (mut head, body) = request.into_parts();
        let body = match guard(&mut head, body) {
            Ok(body) => body,
            Err(error) => return Begun::Response(error.to_response()),
        };
        if body.is_end_stream() {
            return Begun::Request(Request::from_parts(head, body), None);
        }
        let end = Arc::new(OnceLock::new());
        let confirm = Confirm { end: Arc::clone(&end) };
        // The first end counts; `set` ignores later ones.
        let body = body.inspect(move |body, frame| match frame {
            Some(Err(error)) => drop(end.set(Err(error.clone()))),
            Some(Ok(_)) if !body.is_end_stream() => {}
            Some(Ok(_)) | None => drop(end.set(Ok(()))),
        });
        Begun::Request(Request::from_parts(head, body), Some(confirm))
    }
}

impl Finish for Confirm {
    fn finish(self, response: Response<Body>) -> Response<Body> {
        match self.end.get() {
            Some(Err(error)) => error.to_response(),
            None if response.status().is_success() => unread(response.status()).to_response(),
            Some(Ok(())) | None => response,
        }
    }
}

fn unread(status: StatusCode) -> Error {
    let status = status.as_u16();
    let message = format!(
        "the handler answered {status} without reading the upload to its end, so the upload may be invalid: the handler must \
         read the whole body before it answers with a success"
    );
    Error::new(ErrorKind::Internal, message)
}
