//! The client: what it sends is what KAZOO sends, and what it makes of answers is what KAZOO makes of them.
// A test that cannot go on has failed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod captures;
mod judgement;
mod probe;
mod properties;
mod recorder;
mod round_trips;
