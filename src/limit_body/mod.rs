//! Bounds the request's body, and lets the client read a refusal.
//!
//! [`LimitBody`] does five things to the body of a request, and nothing to the rest:
//!
//! - A body over the limit is answered with 413, whether it said its length beforehand or not. The inner service
//!   sees a body that ends with [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge), never one that ends cleanly.
//! - When the inner service answers before it has read the whole body, the rest is read and thrown away, up to a
//!   bound, before the answer goes out. KAZOO writes its whole upload before it reads; a connection that is
//!   closed under it loses the status of some refused uploads of 1 to 20 MiB (6 of 18 runs). A client that waits for `100
//!   Continue` is answered without.
//! - A body that comes too slowly ([`stall_timeout`](LimitBody::stall_timeout), if it is set) is answered with 408, and its
//!   connection closes. A client that sends one byte per second cannot hold it forever, read or drained.
//! - A request with ambiguous framing is answered with 400 and its connection is closed, so that nothing after it is
//!   interpreted as a request: a PUT or POST over HTTP/1.0 without `content-length`, whose body is indistinguishable
//!   from none; a `transfer-encoding` other than a single `chunked`; more than one `host`, or an invalid one. The
//!   connection is also closed after the trailers of a chunked body, which another parser may end elsewhere.
//! - Over HTTP/2, a body ends cleanly only if its `content-length` has arrived or `is_end_stream` confirms its end, as
//!   in every layer that reads bodies: hyper reports a stream that was reset with `NO_ERROR` as complete.
//!
//! It belongs in front of every layer that can refuse. Nothing of a body is held.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use kazoo_storage::{Body, Error, LimitBody};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let service = ServiceBuilder::new().layer(LimitBody::new(4)).service(service_fn(
//!     async |request: Request<Body>| {
//!         Ok::<_, std::convert::Infallible>(match request.into_body().collect().await {
//!             Ok(body) => Response::new(Body::from(body.to_bytes())),
//!             Err(error) => error.into_response(),
//!         })
//!     },
//! ));
//! let ask = async |text| service.clone().oneshot(Request::put("/").body(Full::<Bytes>::from(text)).unwrap()).await;
//! assert_eq!(ask("four").await.unwrap().status(), StatusCode::OK);
//! assert_eq!(ask("fives").await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
//! # });
//! ```

mod body;
mod framing;
mod future;
mod layer;
mod pace;
mod service;

pub use self::{future::LimitBodyFuture, layer::LimitBody, service::LimitBodyService};
