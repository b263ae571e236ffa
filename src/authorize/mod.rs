//! Authorizes requests before their bodies are read.
//!
//! [`Authorize`] passes the head of each request to an [`Authorizer`]. The resulting
//! [`Grant`](crate::Grant) becomes a request extension, which [`ExtractKey`](crate::ExtractKey) enforces. A
//! rejected request is answered with 401 or 403, whether the file exists or not. The grant replaces one that outer
//! middleware has inserted. The response to an authorized request has the grant, and the
//! [`ClientAddr`](crate::client_addr::ClientAddr) if it is known, among its extensions.
//!
//! KAZOO cannot send custom headers: its credential is in the URL of the storage settings, or is its source address.
//! [`AccessRules`] handle both. A custom type or a closure can be an authorizer too:
//!
//! ```
//! use http::{Request, request::Parts};
//! use kazoo_storage::{AccessRules, Authorize, Body, Error, ErrorKind, Grant, authorize::Credential};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let rules = AccessRules::new().credential(Credential::token("fI6n-3Qc"));
//! let service = ServiceBuilder::new().layer(Authorize::new(rules)).service(service_fn(
//!     // The token was removed from the path.
//!     async |request: Request<Body>| Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(request.uri().path().to_owned()))),
//! ));
//! let put = |path: &str| Request::put(path).body(Body::empty()).unwrap();
//! assert_eq!(service.clone().oneshot(put("/fI6n-3Qc/ACC/DOC/ATT")).await.unwrap().status(), 200);
//! assert_eq!(service.oneshot(put("/ACC/DOC/ATT")).await.unwrap().status(), 401);
//! # });
//!
//! let by_tenant = Authorize::new(|request: &mut Parts| match request.headers.get("x-tenant") {
//!     Some(tenant) => Ok(Grant::everything().accounts(tenant.to_str().ok())),
//!     None => Err(Error::new(ErrorKind::Forbidden, "no tenant")),
//! });
//! # let _ = by_tenant;
//! ```

mod authorizer;
mod layer;
mod rules;
mod segment;
mod service;
mod tell;

pub use self::{
    authorizer::Authorizer,
    layer::Authorize,
    rules::{AccessRules, Credential, SharedAccessRules},
    segment::take_first_segment,
};
