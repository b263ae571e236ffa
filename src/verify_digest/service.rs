use bytes::Bytes;
use http::{Method, Request};
use http_body::Body as HttpBody;

use super::{VerifyDigest, body::Verified, fields::declared};
use crate::{
    body::Body,
    error::{BoxError, Result},
    framing::guard,
    rewrite::{Rewrite, Rewritten},
};

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Rewrite<B> for VerifyDigest {
    type Body = Body;

    fn rewrite(&self, request: Request<B>) -> Rewritten<Body> {
        let is_upload = matches!(*request.method(), Method::PUT | Method::POST);
        let request = request.map(Body::new);
        if is_upload {
            verify(request).into()
        } else {
            Rewritten::Request(request)
        }
    }
}

/// Adds the verification of the declared digests to the body.
fn verify(request: Request<Body>) -> Result<Request<Body>> {
    let (mut head, body) = request.into_parts();
    let body = guard(&mut head, body)?;
    let checks = declared(&head.headers)?;
    let body = if checks.is_empty() {
        body
    } else {
        Body::new(Verified::new(body, checks))
    };
    Ok(Request::from_parts(head, body))
}
