//! Lets in who may store and fetch.
//!
//! [`Authorize`] asks an [`Authorizer`] about the head of each request, before a byte of its body is read. What it grants
//! goes among the request's extensions as a [`Grant`](crate::grant::Grant), which [`ExtractKey`](crate::ExtractKey) holds the
//! request to; what it refuses is answered with 401 or 403, whether the file exists or not.
//!
//! KAZOO can send no header of its own choosing: what it carries is in the URL of its storage settings, or is the address
//! that it comes from. [`AccessRules`] are the ready authorizer for that; a type of yours, or a closure, is another:
//!
//! ```
//! use http::{Request, request::Parts};
//! use kazoo_storage::{AccessRules, Authorize, Body, Error, ErrorKind, authorize::Credential, grant::Grant};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let rules = AccessRules::new().credential(Credential::token("fI6n-3Qc"));
//! let service = ServiceBuilder::new().layer(Authorize::new(rules)).service(service_fn(
//!     // The secret is taken out of the path.
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
mod conceal;
mod credential;
mod credentials;
mod forwarded;
mod layer;
mod lookup;
mod rules;
mod service;
mod shared;
mod source;

pub(crate) use self::authorizer::DynAuthorizer;
pub use self::{
    authorizer::Authorizer, credential::Credential, layer::Authorize, rules::AccessRules, shared::SharedAccessRules,
};
