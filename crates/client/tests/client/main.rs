//! The client sends what KAZOO sends, and treats responses as KAZOO does.
// A test that cannot go on has failed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod captures;
mod in_process;
mod judgement;
mod probe;
mod properties;
mod recorder;
mod round_trips;
