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
    grant::Grant,
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
        let of_grant = head.extensions.get::<Grant>().and_then(Grant::body_limit);
        let max = of_grant.map_or(self.max, |limit| limit.min(self.max));
        let declared = declared_len(&head.headers).unwrap_or_else(|| body.size_hint().lower());
        if declared > max {
            return Err(too_large(max));
        }
        Ok(Request::from_parts(head, Body::new(Limited::new(body, max))))
    }
}
