//! [`Client`]: sends requests and treats responses as KAZOO does.

use std::{collections::HashMap, fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use super::{
    attachment::Attachment,
    chunks::Chunks,
    connect::{self, Connection, Origin, Sender},
    dialect::Dialect,
    failure::{Failure, FailureKind, History, Redirect},
    handler::Handler,
    in_process::{InProcess, LocalService},
    judge::{self, MAX_REDIRECTS, Next},
    multipart::Boundary,
    request::Outgoing,
    tls::Tls,
};
use kazoo_storage::{error::BoxError, settings::StorageUrl};

/// Limits on the time that a request takes. KAZOO itself has none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Maximum time to connect, including TLS: 10 seconds by default.
    pub connect: Duration,
    /// Maximum time from the start of a request to the end of its response: 60 seconds by default.
    pub response: Duration,
    /// Maximum time to retry, from the first 503 with `Retry-After`: 60 seconds by default.
    pub retry: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            response: Duration::from_secs(60),
            retry: Duration::from_secs(60),
        }
    }
}

/// A file that KAZOO regards as stored.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoredFile {
    /// The URL that KAZOO keeps to fetch the file: the last one if a PUT was redirected.
    pub url: StorageUrl,
    /// The final response.
    pub answer: Response<Bytes>,
    /// The redirects and retries before the response.
    pub history: History,
}

impl StoredFile {
    /// Returns `true` if the file was lost: a POST was redirected and became a GET without a body, and KAZOO regards its
    /// success as the success of the store.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.history
            .redirects
            .iter()
            .any(|redirect| redirect.method == Method::GET)
    }
}

impl fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredFile")
            .field("url", &self.url)
            .field("status", &self.answer.status())
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

/// A file that KAZOO has fetched.
#[derive(Clone)]
#[non_exhaustive]
pub struct FetchedFile {
    /// The content as received. A `content-encoding` is not decoded.
    pub content: Bytes,
    /// The response.
    pub answer: Response<Bytes>,
    /// The redirects and retries before the response.
    pub history: History,
}

impl fmt::Debug for FetchedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedFile")
            .field("len", &self.content.len())
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

/// An HTTP client that behaves like KAZOO's.
///
/// It sends one request at a time, over one persistent connection to each host. Like KAZOO's client, it follows the redirects
/// that KAZOO follows, waits and retries on a 503 with `Retry-After`, never decodes a `content-encoding`, and does not retry
/// after a connection error. It holds a whole response in memory, up to [`max_answer`](Self::max_answer). It needs a tokio
/// runtime.
#[derive(Debug)]
pub struct Client {
    /// Replaces the network.
    service: Option<InProcess>,
    tls: Option<Tls>,
    timeouts: Timeouts,
    max_answer: usize,
    connections: HashMap<Origin, Connection>,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            service: None,
            tls: None,
            timeouts: Timeouts::default(),
            max_answer: Self::DEFAULT_MAX_ANSWER,
            connections: HashMap::new(),
        }
    }
}

impl Client {
    /// Default maximum length of a response body: 1 GiB, the server's default for a file.
    pub const DEFAULT_MAX_ANSWER: usize = 1 << 30;

    /// Creates a client that trusts the certificates that the system trusts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a client whose requests `service` answers, in this process and without a network, whatever the host of a
    /// URL is. `https` URLs work too, without encryption.
    ///
    /// The service receives what hyper would hand over from a socket. The extensions that an application inserts for each
    /// connection, such as `PeerAddr` or axum's `ConnectInfo`, are missing: insert them in the service. Waiting for a retry takes tokio's time: in
    /// a test with `start_paused = true` it takes none.
    ///
    /// If the service or a response body fails, or the service panics, the connection breaks, as over a network. The error or the panic is
    /// the [source](std::error::Error::source) of the [`Failure`].
    #[must_use]
    pub fn over(service: impl LocalService) -> Self {
        Self {
            service: Some(InProcess::new(service)),
            ..Self::default()
        }
    }

    /// Sets the trusted certificates.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the timeouts.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets the maximum length of a response body, by default [`DEFAULT_MAX_ANSWER`](Self::DEFAULT_MAX_ANSWER). A longer one
    /// is [`FailureKind::TooLong`]. KAZOO itself has no limit.
    #[must_use]
    pub fn max_answer(mut self, bytes: usize) -> Self {
        self.max_answer = bytes;
        self
    }

    /// Returns `true` if an idle connection to the host of `url` is open.
    #[must_use]
    pub fn is_connected(&self, url: &StorageUrl) -> bool {
        let open = self.connections.get(&Origin::of(url));
        open.is_some_and(|open| !open.sender.is_closed())
    }

    /// Stores `attachment` as KAZOO would.
    pub async fn store(
        &mut self,
        dialect: &Dialect,
        handler: &Handler,
        attachment: &Attachment,
    ) -> Result<StoredFile, Failure> {
        let outgoing = handler.store(dialect, attachment, &Boundary::random()?)?;
        let mut url = outgoing.url.clone();
        let (answer, history) = self.exchange(dialect, outgoing).await?;
        if let Err(kind) = judge::store(answer.status()) {
            return Err(Failure::new(kind).with_answer(answer).with_history(history));
        }
        // KAZOO itself follows the redirects of a PUT and keeps the last URL; its HTTP client follows those of a POST.
        if let Some(last) = history.redirects.last().filter(|last| last.method == Method::PUT) {
            url = last.to.clone();
        }
        Ok(StoredFile { url, answer, history })
    }

    /// Fetches `attachment`, stored at the URL `stored`, as KAZOO would.
    pub async fn fetch(
        &mut self,
        dialect: &Dialect,
        handler: &Handler,
        stored: &StorageUrl,
        attachment: &Attachment,
    ) -> Result<FetchedFile, Failure> {
        let outgoing = handler.fetch(dialect, stored, attachment)?;
        let (answer, history) = self.exchange(dialect, outgoing).await?;
        match judge::fetch(answer.status()) {
            Ok(()) => Ok(FetchedFile {
                content: answer.body().clone(),
                answer,
                history,
            }),
            Err(kind) => Err(Failure::new(kind).with_answer(answer).with_history(history)),
        }
    }

    /// Sends one request and returns its response, whatever the status.
    pub async fn send(&mut self, outgoing: &Outgoing) -> Result<Response<Bytes>, Failure> {
        let origin = &Origin::of(&outgoing.url);
        let mut request = outgoing.request.clone().map(Chunks::new);
        if let Some(kept) = self.connections.remove(origin) {
            // Lets the connection task notice that the server has closed the connection.
            yield_now().await;
            match self.ask(origin, kept, request).await {
                Err(Unanswered::Unsent(unsent, _)) => request = *unsent,
                Err(Unanswered::Failed(failure)) => return Err(failure),
                Ok(answer) => return Ok(answer),
            }
        }
        let new = self.connect(origin).await?;
        self.ask(origin, new, request)
            .await
            .map_err(|unanswered| match unanswered {
                Unanswered::Unsent(_, error) => Failure::new(FailureKind::Broken).with_source(error),
                Unanswered::Failed(failure) => failure,
            })
    }

    /// Opens a connection.
    async fn connect(&mut self, origin: &Origin) -> Result<Connection, Failure> {
        if let Some(service) = &self.service {
            return service.connect().await;
        }
        if origin.tls && self.tls.is_none() {
            self.tls = Some(Tls::system().map_err(|error| Failure::new(FailureKind::Tls).with_source(error))?);
        }
        let tls = self.tls.as_ref().filter(|_| origin.tls);
        connect::open(origin, tls, self.timeouts.connect).await
    }

    /// Sends `request` over this connection to `origin`, and keeps the connection for the next request.
    async fn ask(
        &mut self,
        origin: &Origin,
        mut connection: Connection,
        request: Question,
    ) -> Result<Response<Bytes>, Unanswered> {
        let answer = answer(&mut connection.sender, request, self.max_answer);
        let answered = timeout(self.timeouts.response, answer).await;
        let answered = answered.map_err(|late| Failure::new(FailureKind::TimedOut).with_source(late))?;
        let answer = match answered {
            Err(Unanswered::Failed(failure)) => return Err(connection.explain(failure).await.into()),
            answered => answered?,
        };
        // KAZOO's client closes a connection after a server error.
        if !answer.status().is_server_error() {
            self.connections.insert(origin.clone(), connection);
        }
        Ok(answer)
    }

    /// Sends the request, follows redirects and retries until the final response.
    async fn exchange(
        &mut self,
        dialect: &Dialect,
        mut outgoing: Outgoing,
    ) -> Result<(Response<Bytes>, History), Failure> {
        let mut history = History::default();
        // Measures the elapsed time, because delays of zero seconds add up to nothing.
        let mut asked_to_wait: Option<Instant> = None;
        loop {
            let answer = match self.send(&outgoing).await {
                Ok(answer) => answer,
                Err(failure) => return Err(failure.with_history(history)),
            };
            let fail = |kind, answer, history| Err(Failure::new(kind).with_answer(answer).with_history(history));
            match judge::next(outgoing.request.method(), &outgoing.url, &answer) {
                Next::Done => return Ok((answer, history)),
                Next::Wait(delay) => {
                    let elapsed = asked_to_wait.map(|first| first.elapsed()).unwrap_or_default();
                    if elapsed + delay > self.timeouts.retry {
                        return fail(FailureKind::Waiting, answer, history);
                    }
                    asked_to_wait.get_or_insert_with(Instant::now);
                    sleep(delay).await;
                    history.waited += delay;
                }
                Next::Follow { .. } if history.redirects.len() == MAX_REDIRECTS => {
                    return fail(FailureKind::Redirect, answer, history);
                }
                Next::Follow { url, method } => {
                    outgoing = match outgoing.redirected(dialect, url.clone(), method.clone()) {
                        Ok(redirected) => redirected,
                        Err(_) => return fail(FailureKind::Redirect, answer, history),
                    };
                    history.redirects.push(Redirect {
                        status: answer.status(),
                        to: url,
                        method,
                    });
                }
                Next::InvalidLocation => return fail(FailureKind::Redirect, answer, history),
            }
        }
    }
}

type Question = Request<Chunks>;

/// The reason why there is no response.
enum Unanswered {
    /// The connection was closed before the request was sent.
    Unsent(Box<Question>, hyper::Error),
    Failed(Failure),
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Sends `request` and reads the whole response, whose body has at most `max` bytes.
async fn answer(sender: &mut Sender, request: Question, max: usize) -> Result<Response<Bytes>, Unanswered> {
    if let Err(closed) = sender.ready().await {
        return Err(Unanswered::Unsent(Box::new(request), closed));
    }
    let answered = sender.try_send_request(request).await;
    let (head, body) = answered
        .map_err(|mut error| match error.take_message() {
            Some(unsent) => Unanswered::Unsent(Box::new(unsent), error.into_error()),
            None => Failure::new(FailureKind::Broken).with_source(error.into_error()).into(),
        })?
        .into_parts();
    let has_two_lengths =
        head.headers.contains_key(header::CONTENT_LENGTH) && head.headers.contains_key(header::TRANSFER_ENCODING);
    let mut content = BytesMut::new();
    let ended = read(Limited::new(body, max), &mut content).await;
    let answer = Response::from_parts(head, content.freeze());
    match ended {
        Err(error) => {
            let too_long = error.is::<LengthLimitError>();
            let kind = if too_long {
                FailureKind::TooLong
            } else {
                FailureKind::Truncated
            };
            Err(Failure::new(kind).with_answer(answer).with_source(error).into())
        }
        Ok(()) if has_two_lengths => Err(Failure::new(FailureKind::Broken)
            .with_answer(answer)
            .with_source("`content-length` and `transfer-encoding` in one response, which KAZOO's client rejects as invalid HTTP")
            .into()),
        Ok(()) => Ok(answer),
    }
}

async fn read(mut body: Limited<Incoming>, content: &mut BytesMut) -> Result<(), BoxError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            content.extend_from_slice(&data);
        }
    }
    Ok(())
}
