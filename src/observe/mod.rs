//! Reports the outcome of each request to the application.
//!
//! [`Observe`] is the outermost layer. When the response of a request ends, for whatever reason, it passes one
//! [`Event`] to an [`Events`] implementation: the [`Outcome`](crate::Outcome), the duration, the bytes sent, and
//! whether the client received the complete response. An event with [`Outcome::Stored`](crate::Outcome::Stored) is sent
//! after the file is durable, so it can start a transcription or notify a CRM. If the process dies before that work is
//! done, the work is lost: [Jobs after an
//! upload](https://github.com/kazoo-storage/kazoo-storage/blob/main/docs/jobs.md) uses the crate `kazoo-storage-ledger`, which keeps it.
//!
//! The event contains the path of the request and not its query, where KAZOO puts callers' names and numbers.
//!
//! ```
//! use http::{Request, Response};
//! use kazoo_storage::{Body, Event, Observe};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let (events, seen) = std::sync::mpsc::channel();
//! let observe = Observe::new(move |event: &Event<'_>| {
//!     let _ = events.send((event.path.to_owned(), event.status));
//! });
//! let service = ServiceBuilder::new().layer(observe).service(service_fn(
//!     async |_: Request<Body>| Ok::<_, std::convert::Infallible>(Response::new(Body::empty())),
//! ));
//! drop(service.oneshot(Request::get("/ACC/DOC/ATT.mp3?caller_id_name=Anna").body(Body::empty()).unwrap()).await);
//! let (path, status) = seen.recv().unwrap();
//! assert_eq!((&*path, status.unwrap().as_u16()), ("/ACC/DOC/ATT.mp3", 200));
//! # });
//! ```

mod bytes_in;
mod event;
mod layer;
#[cfg(feature = "metrics")]
mod metrics;
mod request_id;
mod service;

#[cfg(feature = "metrics")]
pub use self::metrics::Metrics;
pub use self::{
    event::{End, Event, Events, Started},
    layer::Observe,
    request_id::RequestId,
};
