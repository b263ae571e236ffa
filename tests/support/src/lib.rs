//! Helpers shared by the tests, benches and examples of the workspace.

// A helper fails by panicking, and says where; its callers are tests alone.
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate
)]

pub mod client;
pub mod engine;
pub mod fixture;
pub mod server;
pub mod stores;
pub mod versions;
