//! Bodies, uploads and ratios for the benches of the library.

// A bench fails by panicking.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod chunks;
pub mod kazoo;
pub mod ratio;
