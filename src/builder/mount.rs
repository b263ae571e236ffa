use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    Request, Response, Uri,
    uri::{self, PathAndQuery},
};
use http_body::Body as HttpBody;
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::StorageService;
use crate::{
    body::Body,
    error::{BoxError, Result},
    normalize::{escapes, normalize_path},
    rewrite::take_ready,
};

/// Layer that serves storage under a prefix; made by [`KazooStorage::mount`](crate::KazooStorage::mount).
#[derive(Clone, Debug)]
pub struct Mount {
    storage: StorageService,
    /// The normalized segments, without slashes; empty if every path is served.
    prefix: Arc<[String]>,
}

impl Mount {
    pub(super) fn new(storage: StorageService, prefix: &str) -> Self {
        let path = format!("/{prefix}");
        let path = normalize_path(&path);
        let path = path.trim_matches('/');
        let segments = path.split('/').filter(|_| !path.is_empty());
        Self {
            storage,
            prefix: segments.map(str::to_owned).collect(),
        }
    }
}

impl<S> Layer<S> for Mount {
    type Service = MountService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MountService {
            inner,
            mount: self.clone(),
        }
    }
}

/// Service of [`Mount`].
#[derive(Clone, Debug)]
pub struct MountService<S> {
    inner: S,
    mount: Mount,
}

impl<S, B, ResBody> Service<Request<B>> for MountService<S>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    ResBody: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = MountFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // The request decides which of the two services is called.
        match ready!(Service::<Request<Body>>::poll_ready(&mut self.mount.storage, cx)) {
            Ok(()) => self.inner.poll_ready(cx),
            Err(never) => match never {},
        }
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match strip(request.uri(), &self.mount.prefix) {
            Some(uri) => {
                *request.uri_mut() = uri;
                MountFuture(Kind::Storage(take_ready(&mut self.mount.storage).call(request)))
            }
            None => MountFuture(Kind::Inner(self.inner.call(request))),
        }
    }
}

/// Returns `uri` without `prefix` in its path, or `None` if it is not below it.
///
/// The scheme and the authority, which HTTP/2 sends instead of a `host` header, stay.
///
/// Older Erlang sends the `.` segments of the prefix, which are skipped. A `..` is not resolved and an empty segment is
/// not skipped, because a proxy that guards the prefix may treat them differently.
fn strip(uri: &Uri, prefix: &[String]) -> Option<Uri> {
    let mut rest = uri.path();
    for expected in prefix {
        rest = loop {
            let (segment, after) = split_segment(rest)?;
            match &*escapes(segment) {
                "." => rest = after,
                segment if segment == expected => break after,
                _ => return None,
            }
        };
    }
    while let Some((segment, after)) = split_segment(rest)
        && escapes(segment) == "."
    {
        rest = after;
    }
    let slash = if rest.is_empty() { "/" } else { "" };
    let target = match uri.query() {
        Some(query) => format!("{slash}{rest}?{query}"),
        None => format!("{slash}{rest}"),
    };
    let mut parts = uri::Parts::from(uri.clone());
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// Splits `path` into its first segment and the rest.
fn split_segment(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    Some(path.split_at(path.find('/').unwrap_or(path.len())))
}

/// Future of [`MountService`].
#[pin_project]
pub struct MountFuture<F>(#[pin] Kind<F>);

type Storage = <StorageService as Service<Request<Body>>>::Future;

#[pin_project(project = KindProj)]
enum Kind<F> {
    Storage(Storage),
    Inner(#[pin] F),
}

impl<F, E, ResBody> Future for MountFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            KindProj::Storage(storage) => {
                let answered: Result<_, Infallible> = ready!(storage.as_mut().poll(cx));
                match answered {
                    Ok(response) => Poll::Ready(Ok(response)),
                    Err(never) => match never {},
                }
            }
            KindProj::Inner(inner) => Poll::Ready(ready!(inner.poll(cx)).map(|response| response.map(Body::new))),
        }
    }
}

impl<F> fmt::Debug for MountFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(uri: &str, prefix: &str) -> Option<String> {
        let prefix: Vec<String> = prefix.split_terminator('/').skip(1).map(str::to_owned).collect();
        strip(&uri.parse().unwrap(), &prefix).map(|uri| uri.to_string())
    }

    #[test]
    fn strips_the_prefix() {
        assert_eq!(stripped("/pre/A/B?x=1/2", "/pre").as_deref(), Some("/A/B?x=1/2"));
        assert_eq!(stripped("/pre", "/pre").as_deref(), Some("/"));
        assert_eq!(
            stripped("/pre?recording=A/B", "/pre").as_deref(),
            Some("/?recording=A/B")
        );
        assert_eq!(stripped("/pre//A", "/pre").as_deref(), Some("//A"));
        assert_eq!(stripped("/A/B", "").as_deref(), Some("/A/B"));
        assert_eq!(
            stripped("https://host:1/pre/A%2FB?x", "/pre").as_deref(),
            Some("https://host:1/A%2FB?x")
        );
        assert_eq!(stripped("http://host/pre", "/pre").as_deref(), Some("http://host/"));
        assert_eq!(stripped("host:1", ""), None, "CONNECT has no path");
        assert_eq!(stripped("/prefix/A", "/pre"), None);
        assert_eq!(stripped("/other", "/pre"), None);
        assert_eq!(stripped("/", "/pre"), None);
    }

    #[test]
    fn accepts_every_spelling_of_a_prefix_that_erlang_sends_and_no_other() {
        for uri in [
            "/pre-fix/x/A/B",
            "/pre%2Dfix/./x/A/B",
            "/pre%2dfix/%78/A/B",
            "/%2E/pre-fix/x/./A/B",
        ] {
            assert_eq!(stripped(uri, "/pre-fix/x").as_deref(), Some("/A/B"), "{uri}");
        }
        for uri in [
            "/pre-fix%2Fx/A/B",
            "//pre-fix/x/A/B",
            "/pre-fix//x/A/B",
            "/a/../pre-fix/x/A/B",
            "/pre-fix/../pre-fix/x/A/B",
            "/%2E%2E/pre-fix/x/A",
            "/pre%252Dfix/x/A/B",
            "/pre+fix/x/A",
            "/./.",
        ] {
            assert_eq!(stripped(uri, "/pre-fix/x"), None, "{uri}");
        }
        // The path below the prefix is passed on as is.
        assert_eq!(stripped("/p/%41/./B%2d", "/p").as_deref(), Some("/%41/./B%2d"));
    }
}
