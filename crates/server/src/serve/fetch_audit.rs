//! Records the fetches of KAZOO in the audit trail.

use std::{convert::Infallible, net::IpAddr, time::Duration};

use http::{Request, Response};
use kazoo_storage::{Body, Error, ErrorKind, Grant, Outcome, PeerAddr, client_addr::ClientAddr};
use kazoo_storage_ledger::{
    Ledger,
    audit::{Action, Entry},
};
use tokio::time::timeout;
use tower::{Service, ServiceExt as _, service_fn};

/// Maximum time to record a fetch. The client waits for the file meanwhile, and retries after a 503.
const RECORDING: Duration = Duration::from_secs(2);

/// Records each response of `inner` that reveals something about a file in the audit trail of `ledger`, before its
/// head is sent. A response that cannot be recorded is replaced by a 503.
pub(super) fn recording<S>(
    inner: S,
    ledger: Ledger,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    service_fn(move |request: Request<Body>| {
        let (inner, ledger) = (inner.clone(), ledger.clone());
        let peer = request.extensions().get().map(|PeerAddr(peer)| peer.ip());
        // In a box, so that the futures of the layers above are as small without the trail as they would be without this service.
        Box::pin(async move {
            let response = inner.oneshot(request).await?;
            Ok(recorded(response, peer, &ledger).await)
        })
    })
}

async fn recorded(response: Response<Body>, peer: Option<IpAddr>, ledger: &Ledger) -> Response<Body> {
    let Some(entry) = entry(&response, peer) else {
        return response;
    };
    let late = || Error::new(ErrorKind::Unavailable, "the ledger did not record it within 2 seconds");
    let appended = timeout(RECORDING, ledger.append_audit(&entry)).await;
    match appended.unwrap_or_else(|_| Err(late())) {
        Ok(_) => response,
        Err(error) => {
            let message = format!(
                "the fetch cannot be recorded in the audit trail, so the file is not sent: {}",
                error.message()
            );
            Error::new(ErrorKind::Unavailable, message)
                .with_source(error)
                .to_response()
        }
    }
}

/// Returns the entry of a response with a file, with its location, or with something about it.
fn entry(response: &Response<Body>, peer: Option<IpAddr>) -> Option<Entry> {
    let extensions = response.extensions();
    let (action, key) = match extensions.get::<Outcome>()? {
        Outcome::Fetched { key, .. } | Outcome::NotModified { key, .. } | Outcome::Redirected { key, .. } => {
            (Action::Fetch, key)
        }
        Outcome::Described { key, .. } => (Action::Describe, key),
        _ => return None,
    };
    let client = extensions.get().map(|ClientAddr(client)| *client);
    let entry = Entry::new(action, response.status().as_str()).address(client.or(peer));
    Some(entry.name(extensions.get::<Grant>().and_then(Grant::name)).key(key))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use kazoo_storage::{KazooStorage, MemoryStore};
    use rusqlite::Connection;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fetch_is_refused_soon_while_another_process_locks_the_ledger() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.sqlite");
        let ledger = Ledger::sqlite(&path).await.unwrap();
        let service = recording(KazooStorage::new(MemoryStore::new()).into_service(), ledger);
        let target = "/ACCOUNT/DOCUMENT/message.mp3";
        let upload = Request::put(target).body(Body::from("ID3")).unwrap();
        assert_eq!(
            service.clone().oneshot(upload).await.unwrap().status(),
            StatusCode::CREATED
        );

        let other = Connection::open(path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let begun = Instant::now();
        let fetch = Request::get(target).body(Body::empty()).unwrap();
        let refused = service.oneshot(fetch).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(begun.elapsed(), RECORDING);
    }
}
