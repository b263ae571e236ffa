use bytes::Bytes;
use http::Request;
use http_body::Body as HttpBody;

use super::{
    LimitBody,
    body::{Limited, too_large},
};
use crate::{
    body::Body,
    error::{BoxError, Result},
    framing::{declared_len, guard},
    rewrite::{Rewrite, Rewritten},
};

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Rewrite<B> for LimitBody {
    type Body = Body;

    fn rewrite(&self, request: Request<B>) -> Rewritten<Body> {
        self.limit(request.map(Body::new)).into()
    }
}

impl LimitBody {
    fn limit(self, request: Request<Body>) -> Result<Request<Body>> {
        let (mut head, body) = request.into_parts();
        let body = guard(&mut head, body)?;
        if body.is_end_stream() {
            return Ok(Request::from_parts(head, body));
        }
        let declared = declared_len(&head.headers).unwrap_or_else(|| body.size_hint().lower());
        if declared > self.max {
            return Err(too_large(self.max));
        }
        Ok(Request::from_parts(head, Body::new(Limited::new(body, self.max))))
    }
}
