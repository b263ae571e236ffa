//! Bounds how many requests are answered at once, and loses none of the others.
//!
//! [`LimitConcurrency`] lets a number of requests through. One beyond it is answered at once with 503 and a
//! `Retry-After` of one second, on which KAZOO's client waits and sends the same request again: a burst is spread over
//! time, and no upload of it is lost. A request counts until its answer has gone out, or is dropped.
//!
//! It finds the key among the request's extensions, so it belongs behind [`ExtractKey`](crate::ExtractKey):
//!
//! - KAZOO's credentials probe is always let through. An administrator waits for its answer, and it costs nothing.
//! - A key that is turned away for longer than an hour ([`retry_window`](LimitConcurrency::retry_window)) gets 503 without
//!   `Retry-After`, so that no KAZOO process waits for ever.
//!
//! A request without a key is turned away like any other, without such a bound.
//!
//! Two more rules apply:
//!
//! - [`per_client`](LimitConcurrency::per_client) limits the requests of one client, so that a few clients cannot take
//!   all permits.
//! - At the limit, a waiting upload that arrives at less than 4 KiB/s yields its permit to the new request and is
//!   answered with 503 and `Retry-After` too. This requires a [`LimitBody`](crate::LimitBody) with a
//!   [`stall_timeout`](crate::LimitBody::stall_timeout) in front.
//!
//! ```
//! use http::{Request, Response, StatusCode};
//! use kazoo_storage::{Body, LimitConcurrency};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let service = ServiceBuilder::new().layer(LimitConcurrency::new(1)).service(service_fn(
//!     async |_: Request<Body>| Ok::<_, std::convert::Infallible>(Response::new(Body::from("a file"))),
//! ));
//! let ask = async || service.clone().oneshot(Request::put("/").body(Body::empty()).unwrap()).await.unwrap();
//! let first = ask().await;
//! let second = ask().await;
//! assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
//! assert_eq!(second.headers()["retry-after"], "1");
//! drop(first);
//! assert_eq!(ask().await.status(), StatusCode::OK);
//! # });
//! ```

mod body;
mod future;
mod layer;
mod permit;
mod service;

pub use self::{future::LimitConcurrencyFuture, layer::LimitConcurrency, service::LimitConcurrencyService};
