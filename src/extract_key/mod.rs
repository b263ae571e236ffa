//! Determines the [`BlobKey`] of a request.
//!
//! [`ExtractKey`] calls a [`KeyExtractor`] and inserts request extensions: the [`BlobKey`] and, for GET and HEAD, the
//! [`Candidates`]. A request without a valid key is answered with 400 and a message that names the violated rule. A key
//! that the [`Grant`](crate::Grant) of the request does not cover is answered with 403. The path, the headers
//! and the body are unchanged. An upload whose target ends with a slash is rejected, because its file has no name.
//!
//! | URL in the storage settings | extractor | example target |
//! | --- | --- | --- |
//! | `http://host/prefix` | [`PathKey`] | `/ACC/DOC/ATT`, the prefix stripped by the router |
//! | `http://host/index.php?recording=` | [`QueryKey`] | `/index.php?recording=ACC/DOC/ATT` |
//! | any, with `field_list: []` and `send_multipart` | [`MetadataKey`] | `/` for every file |
//! | any of these, in a directory per tenant | [`KeyExtractor::prefixed`] | `/ACC/DOC/ATT`, stored as `TENANT/ACC/DOC/ATT` |
//! | anything else | a [`KeyExtractor`] of your own | |
//!
//! ```
//! use http::{Request, Response};
//! use kazoo_storage::{BlobKey, Body, ExtractKey, PathKey};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let service = ServiceBuilder::new().layer(ExtractKey::new(PathKey)).service(service_fn(
//!     async |request: Request<Body>| {
//!         let key = request.extensions().get::<BlobKey>().unwrap();
//!         Ok::<_, std::convert::Infallible>(Response::new(Body::from(key.attachment().to_owned())))
//!     },
//! ));
//! let put = Request::put("/ACC/DOC/my%20voice%20mail.mp3").body(Body::empty()).unwrap();
//! assert_eq!(service.clone().oneshot(put).await.unwrap().status(), 200);
//! let bad = Request::put("/ACC/%2E%2E/passwd").body(Body::empty()).unwrap();
//! assert_eq!(service.oneshot(bad).await.unwrap().status(), 400);
//! # });
//! ```
//!
//! [`BlobKey`]: crate::BlobKey
//! [`Candidates`]: crate::key::Candidates

mod extractor;
mod layer;
mod metadata;
mod path;
mod prefixed;
mod query;
mod service;
mod upload;

pub use self::{
    extractor::KeyExtractor, layer::ExtractKey, metadata::MetadataKey, path::PathKey, prefixed::Prefixed,
    query::QueryKey,
};
