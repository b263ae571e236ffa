//! Code shared by the fuzz targets.
//!
//! [`pieces`] splits a body, [`service`] records what a layer passes on, [`run`] detects a future that hangs, and [`oracle`]
//! computes the expected results.

pub mod oracle;
pub mod pieces;
pub mod run;
pub mod service;
