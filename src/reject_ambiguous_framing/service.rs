use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body::Body as HttpBody;

use super::{RejectAmbiguousFraming, host};
use crate::{
    body::Body,
    error::{BoxError, Result},
    framing::guard,
    rewrite::{Rewrite, Rewritten},
};

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Rewrite<B> for RejectAmbiguousFraming {
    type Body = Body;

    fn rewrite(&self, request: Request<B>) -> Rewritten<Body> {
        check(request.map(Body::new)).map_or_else(
            |error| {
                let mut response = error.to_response();
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
                Rewritten::Response(response)
            },
            Rewritten::Request,
        )
    }
}

fn check(request: Request<Body>) -> Result<Request<Body>> {
    let (mut head, body) = request.into_parts();
    let body = guard(&mut head, body)?;
    host::check(&head)?;
    Ok(Request::from_parts(head, body))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Response, StatusCode};
    use tower::{Layer as _, ServiceExt as _, service_fn};

    use super::*;

    #[tokio::test]
    async fn rejects_a_request_and_closes_its_connection() {
        let service = RejectAmbiguousFraming::new().layer(service_fn(async |_: Request<Body>| {
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }));
        for (name, value, rejected) in [
            ("host", "b", true),
            ("transfer-encoding", "gzip, chunked", true),
            ("transfer-encoding", "chunked", false),
        ] {
            let request = Request::put("/").header("host", "a").header(name, value);
            let request = request.body(Body::from("ID3")).unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            let closes = response.headers().contains_key(header::CONNECTION);
            let status = if rejected {
                StatusCode::BAD_REQUEST
            } else {
                StatusCode::OK
            };
            assert_eq!((response.status(), closes), (status, rejected), "{name}: {value}");
        }
    }
}
