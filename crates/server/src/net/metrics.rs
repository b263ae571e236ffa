//! Metrics of connections.

use kazoo_storage::metrics::{CONNECTIONS, LABEL_REASON, REJECTIONS};
use metrics::{counter, gauge};

/// Counts an open connection for as long as it exists.
pub(super) struct OpenConnection(());

impl OpenConnection {
    pub(super) fn new() -> Self {
        gauge!(CONNECTIONS).increment(1);
        Self(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!(CONNECTIONS).decrement(1);
    }
}

/// Counts a request that was refused because its connection was over a limit.
pub(super) fn turned_away() {
    counter!(REJECTIONS, LABEL_REASON => "connection_limit").increment(1);
}

/// Counts a connection that was dropped without a response.
pub(super) fn dropped() {
    counter!(REJECTIONS, LABEL_REASON => "connection_dropped").increment(1);
}
