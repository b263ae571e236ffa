//! Connections: accepts, limits and serves them.

pub(crate) mod accept;
pub(crate) mod admission;
pub(crate) mod connection;
pub(crate) mod heads;
pub(crate) mod inherited;
mod linger;
mod metrics;
pub(crate) mod pulse;
pub(crate) mod timeouts;
pub(crate) mod tls;

use http::{HeaderValue, Response, header};

/// Closes the connection after `response`.
pub(crate) fn closing<B>(mut response: Response<B>) -> Response<B> {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}
