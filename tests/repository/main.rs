//! The repository itself: the direction of its dependencies, its documents, its examples, and its monitoring files.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod architecture;
mod documents;
mod examples;
mod journal;
mod metadata;
mod monitoring;
mod server_modules;
