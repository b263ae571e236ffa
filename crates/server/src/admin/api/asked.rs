//! [`Asked`]: a request that has reached its handler.

use http::{HeaderMap, Response};
use hyper::body::Incoming;
use kazoo_storage::{Body, Error};

use super::parameters::Parameters;
use crate::admin::connections::Call;

/// A request of the operator.
pub(super) struct Asked<'a> {
    pub(super) parameters: Parameters<'a>,
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
    pub(super) call: &'a Call,
}

/// The response, or the error that becomes one.
pub(super) type Answer = Result<Response<Body>, Error>;
