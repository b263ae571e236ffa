//! Long work in batches, beside the uploads.

use std::time::Instant;

use tokio::time::sleep;

/// Maximum number of rows that one transaction changes. It bounds the time for which uploads wait for it.
pub(super) const BATCH: i64 = 200;

/// Leaves the database to the uploads for as long as the last batch took, which began at `begun`.
pub(super) async fn yield_to_uploads(begun: Instant) {
    sleep(begun.elapsed()).await;
}
