//! Counts connections.

use kazoo_storage::metrics::{CONNECTIONS, LABEL_REASON, REJECTIONS};
use metrics::{counter, gauge};

/// Counts an accepted connection.
pub(super) fn connected() {
    gauge!(CONNECTIONS).increment(1);
}

/// Counts a closed connection.
pub(super) fn disconnected() {
    gauge!(CONNECTIONS).decrement(1);
}

/// Counts a request that was refused because its connection was over a limit.
pub(super) fn turned_away() {
    counter!(REJECTIONS, LABEL_REASON => "connection_limit").increment(1);
}

/// Counts a connection that was closed without a response.
pub(super) fn connection_dropped() {
    counter!(REJECTIONS, LABEL_REASON => "connection_dropped").increment(1);
}
