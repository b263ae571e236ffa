//! Answers requests while the server shuts down.

use std::convert::Infallible;

use http::{HeaderValue, Request, Response, header};
use kazoo_storage::{Body, Error, ErrorKind};
use tokio::sync::watch;
use tower::{Service, ServiceExt as _};

use crate::shutdown::Phase;

/// Passes `request` to `service`, as far as `phase` allows.
pub(crate) async fn answer<S, B>(
    service: S,
    request: Request<B>,
    mut phase: watch::Receiver<Phase>,
) -> Result<Response<Body>, Infallible>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    let mut response = tokio::select! {
        // A request that completes at once is answered even at the end of the last phase.
        biased;
        response = service.oneshot(request) => response?,
        _ = phase.wait_for(|phase| *phase == Phase::Ending) => {
            let message = "the storage server is stopping before the request was done; send it again";
            Error::new(ErrorKind::Unavailable, message).to_response()
        }
    };
    if *phase.borrow() != Phase::Serving {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http::StatusCode;
    use kazoo_storage::RetryAfter;
    use tower_layer::Layer as _;

    use super::*;

    async fn ok(_: Request<()>) -> Result<Response<Body>, Infallible> {
        Ok(Response::new(Body::empty()))
    }

    async fn never(_: Request<()>) -> Result<Response<Body>, Infallible> {
        pending().await
    }

    #[tokio::test]
    async fn answers_close_the_connection_once_the_server_drains() {
        let (phases, phase) = watch::channel(Phase::Serving);
        for (now, close) in [
            (Phase::Serving, None),
            (Phase::Draining, Some("close")),
            (Phase::Ending, Some("close")),
        ] {
            phases.send_replace(now);
            let response = answer(tower::service_fn(ok), Request::new(()), phase.clone()).await;
            let response = response.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let header = response.headers().get(header::CONNECTION);
            assert_eq!(header.map(|value| value.to_str().unwrap()), close);
        }
    }

    #[tokio::test]
    async fn asks_the_client_to_retry_a_request_that_it_cuts_off() {
        for (path, retry_after) in [
            ("/ACC/DOC/message.mp3", Some("5")),
            (
                "/ACC/DOC/7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt",
                None,
            ),
        ] {
            let (phases, phase) = watch::channel(Phase::Serving);
            let request = Request::put(path).body(()).unwrap();
            let draining = tower::service_fn(move |request| answer(tower::service_fn(never), request, phase.clone()));
            let answering = tokio::spawn(RetryAfter::default().layer(draining).oneshot(request));
            phases.send_replace(Phase::Ending);
            let response = answering.await.unwrap().unwrap();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[header::CONNECTION], "close");
            let header = response.headers().get(header::RETRY_AFTER);
            assert_eq!(header.map(|value| value.to_str().unwrap()), retry_after, "{path}");
        }
    }
}
