//! The service over HTTP, in axum and on bare hyper: requests and responses, over sockets where the exact bytes matter.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod authorize;
mod axum;
mod bad_input;
mod conditions;
mod confirm_body;
#[cfg(feature = "axum")]
mod extractors;
mod fetch;
mod format_errors;
mod forwarded;
mod http2;
mod hyper;
mod metrics;
mod mount;
mod observe;
#[cfg(target_os = "linux")]
mod paths;
mod stall;
mod tower_http;
mod uploads;
mod wire;
mod work;
