use std::time::Duration;

use http::{Request, Response};
use http_body::Body as _;

use super::{
    LimitConcurrency,
    permit::{Full, Permit},
};
use crate::{
    body::Body,
    client_addr::ClientAddr,
    error::{Error, ErrorKind},
    exchange::{Begun, Exchange, Finish},
    key::BlobKey,
    probe::Probe,
};

/// The shortest delay that KAZOO's client obeys; most requests take far less.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl<B> Exchange<B> for LimitConcurrency {
    type Body = B;
    type Finish = Permit;

    fn begin(&self, request: Request<B>) -> Begun<B, Permit> {
        let extensions = request.extensions();
        let client = ClientAddr::of(extensions).map(ClientAddr::network);
        let permit = match self.requests.enter(client, extensions.get()) {
            Ok(permit) => Some(permit),
            Err(_) if extensions.get().is_some_and(|key: &BlobKey| Probe::of(key).is_some()) => None,
            Err(full) => return Begun::Response(refusal(full).to_response()),
        };
        Begun::Request(request, permit)
    }
}

impl Finish for Permit {
    /// Holds the permit until the body has ended.
    fn finish(self, response: Response<Body>) -> Response<Body> {
        // The server does not poll a body that is already at its end.
        if response.body().is_end_stream() {
            return response;
        }
        let mut permit = Some(self);
        response.map(|body| {
            body.inspect(move |body, frame| {
                if !matches!(frame, Some(Ok(_))) || body.is_end_stream() {
                    drop(permit.take());
                }
            })
        })
    }
}

fn refusal(full: Full) -> Error {
    #[cfg(feature = "metrics")]
    crate::metrics::shed();
    let message = match full {
        Full::All => "the storage server is at its limit of concurrent requests; send it again",
        Full::Client => "the storage server is at its limit of concurrent requests from this address; send it again",
    };
    Error::new(ErrorKind::Unavailable, message).with_retry_after(Some(RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{StatusCode, header};
    use http_body_util::BodyExt as _;
    use tower::{Layer as _, Service, ServiceExt as _, service_fn};

    use super::*;

    async fn file(_: Request<Body>) -> Result<Response<Body>, Infallible> {
        Ok(Response::new("a file".into()))
    }

    async fn ask<S>(service: &S, key: &str) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
    {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(BlobKey::from_path(key).unwrap());
        service.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_request_counts_until_its_response_has_been_sent() {
        let service = LimitConcurrency::new(2).layer(service_fn(file));
        let read = ask(&service, "A").await;
        let dropped = ask(&service, "A").await;
        let refused = ask(&service, "A").await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
        let mut body = read.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a file");
        let next = ask(&service, "A").await;
        assert_eq!(
            next.status(),
            StatusCode::OK,
            "its body has ended, although it is still held"
        );
        assert_eq!(ask(&service, "A").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(dropped);
        assert_eq!(ask(&service, "A").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_dropped_request_releases_its_permit() {
        let service = LimitConcurrency::new(1).layer(service_fn(file));
        let mut cloned = service.clone();
        drop(cloned.call(Request::new(Body::empty())));
        assert_eq!(ask(&service, "A").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_probe_needs_no_permit() {
        let service = LimitConcurrency::new(0).layer(service_fn(file));
        assert_eq!(ask(&service, "A").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        let probe = "A/7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt";
        assert_eq!(ask(&service, probe).await.status(), StatusCode::OK);
    }
}
