//! Tells an application what became of each request.
//!
//! [`Observe`] is the outermost layer: it sees a request begin and its answer end, whichever way, and tells an
//! [`Events`] about it once: what it came to ([`Outcome`](crate::Outcome)), how long it took, how many bytes went out,
//! and whether the client stayed to the end. An event with [`Outcome::Stored`](crate::Outcome::Stored) is sent after
//! the file is durable, so it is the place to start a transcription or tell a CRM.
//!
//! The event has the path of the request and not its query: KAZOO puts callers' names and numbers there.
//!
//! ```
//! use http::{Request, Response};
//! use kazoo_storage::{Body, Event, Observe};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let (events, seen) = std::sync::mpsc::channel();
//! let observe = Observe::new(move |event: &Event<'_>| events.send((event.path.to_owned(), event.status)).unwrap());
//! let service = ServiceBuilder::new().layer(observe).service(service_fn(
//!     async |_: Request<Body>| Ok::<_, std::convert::Infallible>(Response::new(Body::empty())),
//! ));
//! drop(service.oneshot(Request::get("/ACC/DOC/ATT.mp3?caller_id_name=Anna").body(Body::empty()).unwrap()).await);
//! let (path, status) = seen.recv().unwrap();
//! assert_eq!((&*path, status.unwrap().as_u16()), ("/ACC/DOC/ATT.mp3", 200));
//! # });
//! ```

mod body;
mod counted;
mod event;
mod future;
#[cfg(feature = "metrics")]
mod kind;
mod layer;
#[cfg(feature = "metrics")]
mod metrics;
mod request_id;
mod service;

#[cfg(feature = "metrics")]
pub use self::metrics::Metrics;
pub use self::{
    event::{Begun, End, Event, Events},
    future::ObserveFuture,
    layer::Observe,
    service::ObserveService,
};
