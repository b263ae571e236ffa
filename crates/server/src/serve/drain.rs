//! Answers requests while the server shuts down.

use std::{convert::Infallible, future::Future};

use http::Response;
use kazoo_storage::{Body, Error, ErrorKind};
use tokio::sync::watch;

use crate::{net::closing, shutdown::Phase};

/// Waits for `response`, as far as `phase` allows.
pub(crate) async fn answer(
    response: impl Future<Output = Result<Response<Body>, Infallible>>,
    mut phase: watch::Receiver<Phase>,
) -> Result<Response<Body>, Infallible> {
    let response = tokio::select! {
        // A request that completes at once is answered even at the end of the last phase.
        biased;
        response = response => response?,
        _ = phase.wait_for(|phase| *phase == Phase::Ending) => {
            let message = "the storage server is shutting down and did not finish the request; send it again";
            Error::new(ErrorKind::Unavailable, message).to_response()
        }
    };
    let is_serving = *phase.borrow() == Phase::Serving;
    Ok(if is_serving { response } else { closing(response) })
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use http::{Request, StatusCode, header};
    use kazoo_storage::RetryAfter;
    use tower::ServiceExt as _;
    use tower_layer::Layer as _;

    use super::*;

    #[tokio::test]
    async fn answers_close_the_connection_once_the_server_drains() {
        let (phases, phase) = watch::channel(Phase::Serving);
        for (now, close) in [
            (Phase::Serving, None),
            (Phase::Draining, Some("close")),
            (Phase::Ending, Some("close")),
        ] {
            phases.send_replace(now);
            let response = answer(ready(Ok(Response::new(Body::empty()))), phase.clone())
                .await
                .unwrap();
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
            let draining = tower::service_fn(move |_: Request<()>| answer(pending(), phase.clone()));
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
