//! What the fuzz targets share.
//!
//! [`pieces`] cuts a body up, [`service`] puts a layer in front of a service that keeps what comes, [`run`] notices what
//! hangs, and [`oracle`] and [`forwarded`] do in the plainest way, with everything there at once, what the crate does in a stream.

pub mod forwarded;
pub mod oracle;
pub mod pieces;
pub mod run;
pub mod service;
