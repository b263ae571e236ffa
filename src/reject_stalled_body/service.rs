use bytes::Bytes;
use http::Request;
use http_body::Body as HttpBody;

use super::{RejectStalledBody, body::Paced, pace::Pace};
use crate::{
    body::Body,
    error::BoxError,
    progress::Progress,
    rewrite::{Rewrite, Rewritten},
};

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Rewrite<B> for RejectStalledBody {
    type Body = Body;

    fn rewrite(&self, request: Request<B>) -> Rewritten<Body> {
        let (mut head, body) = request.into_parts();
        let mut body = Body::new(body);
        if !body.is_end_stream() {
            let progress = Progress::default();
            body = Body::new(Paced::new(body, Pace::new(self.timeout, progress.clone())));
            head.extensions.insert(progress);
        }
        Rewritten::Request(Request::from_parts(head, body))
    }
}
