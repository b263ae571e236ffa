use std::sync::Arc;

use http::{Request, Response, StatusCode, header};

use super::{RetryAfter, window::Window};
use crate::{
    body::Body,
    exchange::{Begun, Exchange, Finish},
    outcome::Outcome,
    probe::Probe,
};

/// Marks a request whose responses an outer layer decides on.
#[derive(Clone, Copy)]
struct Decided;

/// The facts about a request that decide on `Retry-After`.
#[derive(Debug)]
pub struct Decision {
    id: u64,
    is_probe: bool,
    window: Arc<Window>,
}

impl<B> Exchange<B> for RetryAfter {
    type Body = B;
    type Finish = Decision;

    fn begin(&self, mut request: Request<B>) -> Begun<B, Decision> {
        let decision = request.extensions_mut().insert(Decided).is_none().then(|| Decision {
            id: self.window.id(&request),
            is_probe: Probe::is_named_by(request.uri()),
            window: Arc::clone(&self.window),
        });
        Begun::Request(request, decision)
    }
}

impl Finish for Decision {
    /// Removes `Retry-After` unless the client is to retry.
    fn finish(self, mut response: Response<Body>) -> Response<Body> {
        let status = response.status();
        if status != StatusCode::SERVICE_UNAVAILABLE {
            // A client without access can cause other responses, also to a request that imitates another client's.
            if status.is_success() || status.is_redirection() {
                self.window.succeeded(self.id);
            }
            return response;
        }
        if !response.headers().contains_key(header::RETRY_AFTER) {
            return response;
        }
        // The name of a probe may be in the metadata, where only the layer that answers it finds it.
        let is_probe = self.is_probe || response.extensions().get::<Probe>().is_some();
        if !is_probe && self.window.failed(self.id) {
            return response;
        }
        response.headers_mut().remove(header::RETRY_AFTER);
        if let Some(Outcome::Failed { error }) = response.extensions_mut().get_mut() {
            *error = error.clone().with_retry_after(None);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use tower::{Layer as _, Service, ServiceExt as _, service_fn};

    use super::*;
    use crate::{
        error::{Error, ErrorKind},
        key::BlobKey,
    };

    const PROBE: &str = "/A/7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt";

    /// A service that succeeds if the request has the header `x-up`, and denies access if it has `x-denied`.
    async fn store(request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let has = |name| request.headers().contains_key(name);
        Ok(if has("x-up") {
            Response::new(Body::empty())
        } else if has("x-denied") {
            Error::new(ErrorKind::Unauthorized, "no credential").to_response()
        } else {
            Error::new(ErrorKind::Unavailable, "down").to_response()
        })
    }

    fn put(target: &str) -> http::request::Builder {
        Request::put(target)
    }

    async fn retries<S>(service: &S, request: http::request::Builder) -> bool
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
    {
        let request = request.body(Body::empty()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        let retries = response.headers().contains_key(header::RETRY_AFTER);
        if let Some(Outcome::Failed { error }) = response.extensions().get() {
            assert_eq!(error.retry_after().is_some(), retries, "the event shows what was sent");
        }
        retries
    }

    #[tokio::test]
    async fn a_request_retries_until_its_window_ends() {
        let service = RetryAfter::new(Duration::ZERO).layer(service_fn(store));
        assert!(retries(&service, put("/A")).await);
        assert!(!retries(&service, put("/A")).await);
        for other in [
            put("/B"),
            put("/A?x=1"),
            Request::get("/A"),
            put("/A").header("content-length", "3"),
            put("/A").header("content-type", "multipart/mixed; boundary=B"),
        ] {
            assert!(retries(&service, other).await);
        }
        assert!(!retries(&service, put("/A").header("x-up", "1")).await);
        assert!(retries(&service, put("/A")).await, "a success starts a new series");
    }

    #[tokio::test]
    async fn a_client_without_access_does_not_end_the_series_of_another() {
        let service = RetryAfter::new(Duration::ZERO).layer(service_fn(store));
        assert!(retries(&service, put("/A")).await);
        assert!(!retries(&service, put("/A").header("x-denied", "1")).await);
        assert!(!retries(&service, put("/A")).await);
    }

    #[tokio::test]
    async fn a_probe_never_retries() {
        let service = RetryAfter::default().layer(service_fn(store));
        assert!(!retries(&service, put(PROBE)).await);
        assert!(!retries(&service, put(&format!("/index.php?name={}", &PROBE[3..]))).await);
        let in_metadata = service_fn(async |request: Request<Body>| {
            let mut response = store(request).await?;
            let key = BlobKey::from_path(PROBE).unwrap();
            response.extensions_mut().insert(Probe::of(&key).unwrap());
            Ok::<_, Infallible>(response)
        });
        assert!(!retries(&RetryAfter::default().layer(in_metadata), put("/")).await);
    }

    #[tokio::test]
    async fn the_outermost_layer_decides() {
        let inner = RetryAfter::new(Duration::ZERO);
        let service = RetryAfter::default().layer(inner.layer(service_fn(store)));
        for _ in 0..3 {
            assert!(retries(&service, put("/A")).await);
        }
        assert!(
            retries(&inner.layer(service_fn(store)), put("/A")).await,
            "the first that it decides on"
        );
        let service = inner.layer(RetryAfter::default().layer(service_fn(store)));
        assert!(!retries(&service, put("/A")).await);
    }
}
