//! Properties of the parsers over random input, compared with the oracle of the fuzz targets.

mod decoding;
mod keys;
mod multipart;

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    vec,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use kazoo_storage::{Body, Error, Metadata};
use proptest::{prelude::ProptestConfig, test_runner::RngSeed};
use tower::{Service, ServiceExt as _, service_fn, util::BoxCloneSyncService};

/// The same cases in every run.
fn config() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(20_240_101),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A body that is split at `cuts`.
struct Pieces(vec::IntoIter<Bytes>);

impl Pieces {
    fn new(body: &[u8], cuts: &[usize]) -> Self {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces: Vec<Bytes> = cuts
            .windows(2)
            .map(|pair| Bytes::copy_from_slice(&body[pair[0]..pair[1]]))
            .collect();
        Self(pieces.into_iter())
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece))))
    }
}

/// The request that reached the inner service: JSON, media type and media. `None` if it was refused.
type Forwarded = Option<(Option<Bytes>, Option<String>, Bytes)>;

fn through<L, S>(layer: L, request: Request<Pieces>) -> (StatusCode, Forwarded)
where
    L: FnOnce(Inner) -> S,
    S: Service<Request<Pieces>, Response = Response<Body>, Error = Infallible>,
{
    let forwarded = Arc::default();
    let kept = Arc::clone(&forwarded);
    let inner = Inner::new(service_fn(move |request| receive(request, Arc::clone(&kept))));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = runtime.block_on(layer(inner).oneshot(request)).unwrap();
    let forwarded = forwarded.lock().unwrap().take();
    (answer.status(), forwarded)
}

type Inner = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Keeps the request if its body ends cleanly.
async fn receive(request: Request<Body>, forwarded: Arc<Mutex<Forwarded>>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let json = head
        .extensions
        .get()
        .map(|metadata: &Metadata| metadata.as_json().clone());
    let content_type = head
        .headers
        .get("content-type")
        .map(|value| value.as_bytes().iter().copied().map(char::from).collect());
    Ok(match body.collect().await {
        Ok(media) => {
            *forwarded.lock().unwrap() = Some((json, content_type, media.to_bytes()));
            Response::new(Body::empty())
        }
        Err(error) => Error::from_body(error).to_response(),
    })
}
