//! [`Pool`]: the idle connections to a server.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;

pub(super) type Sender = SendRequest<Full<Bytes>>;

/// The idle connections to a server. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Sender>>>);

impl Pool {
    /// Takes a connection that the server has not closed.
    pub(super) async fn take(&self) -> Option<Sender> {
        loop {
            let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    /// Keeps a connection whose response was read to its end.
    pub(super) fn put(&self, sender: Sender) {
        if !sender.is_closed() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
    }
}
