//! [`Client`]: what sends KAZOO's requests and takes the answers as KAZOO does.

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
    connect::{self, Origin, Sender, Tls},
    dialect::Dialect,
    failure::{Course, Failure, FailureKind, Redirect},
    handler::Handler,
    judge::{self, MAX_REDIRECTS, Next},
    multipart::Boundary,
    pieces::Pieces,
    request::Outgoing,
};
use kazoo_storage::{error::BoxError, settings::StorageUrl};

/// How long the caller waits for what KAZOO waits for without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection, with TLS: 10 seconds by default.
    pub connect: Duration,
    /// For a whole answer, from when its request begins to be sent: 60 seconds by default.
    pub answer: Duration,
    /// In all, from when the server first asks to come again (a 503 with `Retry-After`): 60 seconds by default.
    pub retry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            retry: Duration::from_secs(60),
        }
    }
}

/// A file that KAZOO takes for stored.
#[derive(Clone)]
#[non_exhaustive]
pub struct Stored {
    /// The URL that KAZOO keeps, to fetch it by: where a redirected PUT ended, if there was one.
    pub url: StorageUrl,
    /// The answer that says so.
    pub answer: Response<Bytes>,
    /// What came before.
    pub course: Course,
}

impl Stored {
    /// Whether no byte of it has arrived: a POST was redirected, and became a GET without a body, whose success KAZOO takes
    /// for that of the store.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.course
            .redirects
            .iter()
            .any(|redirect| redirect.method == Method::GET)
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("url", &self.url)
            .field("status", &self.answer.status())
            .field("course", &self.course)
            .finish_non_exhaustive()
    }
}

/// What KAZOO takes for a file.
#[derive(Clone)]
#[non_exhaustive]
pub struct Fetched {
    /// The bytes, as they came: a `content-encoding` is not taken off.
    pub content: Bytes,
    /// The answer that they came with.
    pub answer: Response<Bytes>,
    /// What came before.
    pub course: Course,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched")
            .field("len", &self.content.len())
            .field("course", &self.course)
            .finish_non_exhaustive()
    }
}

/// Sends requests one by one, over one connection to each host that is kept open, and takes the answers as KAZOO does.
///
/// As its HTTP client, it follows redirects where KAZOO would, waits where a server asks it to, never decodes a
/// `content-encoding`, and repeats nothing that broke off. It holds an answer whole, which may be
/// [so long](Self::max_answer). It needs a tokio runtime.
#[derive(Debug)]
pub struct Client {
    tls: Option<Tls>,
    patience: Patience,
    max_answer: usize,
    connections: HashMap<Origin, Sender>,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            tls: None,
            patience: Patience::default(),
            max_answer: Self::DEFAULT_MAX_ANSWER,
            connections: HashMap::new(),
        }
    }
}

impl Client {
    /// How many bytes the body of an answer may have by default: 1 GiB, as long as a file that the server takes.
    pub const DEFAULT_MAX_ANSWER: usize = 1 << 30;

    /// A client that trusts what the system trusts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts these certificates.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Waits for so long.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Takes answers whose bodies have up to `bytes`, by default [`DEFAULT_MAX_ANSWER`](Self::DEFAULT_MAX_ANSWER); a longer
    /// one is [`FailureKind::TooLong`]. KAZOO itself has no limit.
    #[must_use]
    pub fn max_answer(mut self, bytes: usize) -> Self {
        self.max_answer = bytes;
        self
    }

    /// Whether a connection to the host of `url` is open, with no request on it.
    #[must_use]
    pub fn is_connected(&self, url: &StorageUrl) -> bool {
        let open = self.connections.get(&Origin::of(url));
        open.is_some_and(|open| !open.is_closed())
    }

    /// Stores `attachment` as KAZOO would.
    pub async fn store(
        &mut self,
        dialect: &Dialect,
        handler: &Handler,
        attachment: &Attachment,
    ) -> Result<Stored, Failure> {
        let outgoing = handler.store(dialect, attachment, &Boundary::random()?)?;
        let mut url = outgoing.url.clone();
        let (answer, course) = self.exchange(dialect, outgoing).await?;
        if let Err(kind) = judge::store(answer.status()) {
            return Err(Failure::new(kind).with_answer(answer).with_course(course));
        }
        // KAZOO itself follows a PUT, and knows where to; of a POST it knows nothing.
        if let Some(last) = course.redirects.last().filter(|last| last.method == Method::PUT) {
            url = last.to.clone();
        }
        Ok(Stored { url, answer, course })
    }

    /// Fetches `attachment`, which is kept by the URL `stored`, as KAZOO would.
    pub async fn fetch(
        &mut self,
        dialect: &Dialect,
        handler: &Handler,
        stored: &StorageUrl,
        attachment: &Attachment,
    ) -> Result<Fetched, Failure> {
        let outgoing = handler.fetch(dialect, stored, attachment)?;
        let (answer, course) = self.exchange(dialect, outgoing).await?;
        match judge::fetch(answer.status()) {
            Ok(()) => Ok(Fetched {
                content: answer.body().clone(),
                answer,
                course,
            }),
            Err(kind) => Err(Failure::new(kind).with_answer(answer).with_course(course)),
        }
    }

    /// Sends one request and takes one answer, whatever it is.
    pub async fn send(&mut self, outgoing: &Outgoing) -> Result<Response<Bytes>, Failure> {
        let origin = &Origin::of(&outgoing.url);
        let mut request = outgoing.request.clone().map(Pieces::of);
        if let Some(kept) = self.connections.remove(origin) {
            // Has what came in the meantime be seen, such as that the server has closed it.
            yield_now().await;
            match self.ask(origin, kept, request).await {
                Err(Unanswered::Unsent(unsent, _)) => request = *unsent,
                Err(Unanswered::Failed(failure)) => return Err(failure),
                Ok(answer) => return Ok(answer),
            }
        }
        if origin.tls && self.tls.is_none() {
            self.tls = Some(Tls::system().map_err(|error| Failure::new(FailureKind::Tls).with_source(error))?);
        }
        let tls = self.tls.as_ref().filter(|_| origin.tls);
        let new = connect::open(origin, tls, self.patience.connect).await?;
        self.ask(origin, new, request)
            .await
            .map_err(|unanswered| match unanswered {
                Unanswered::Unsent(_, error) => Failure::new(FailureKind::Broken).with_source(error),
                Unanswered::Failed(failure) => failure,
            })
    }

    /// Sends `request` over this connection to `origin`, and keeps it for the next one.
    async fn ask(
        &mut self,
        origin: &Origin,
        mut sender: Sender,
        request: Question,
    ) -> Result<Response<Bytes>, Unanswered> {
        let answered = timeout(self.patience.answer, answer(&mut sender, request, self.max_answer)).await;
        let answer = answered.map_err(|late| Failure::new(FailureKind::TimedOut).with_source(late))??;
        // KAZOO's client closes a connection that brought an error of the server.
        if !answer.status().is_server_error() {
            self.connections.insert(origin.clone(), sender);
        }
        Ok(answer)
    }

    /// Sends what there is to send until there is a last answer.
    async fn exchange(
        &mut self,
        dialect: &Dialect,
        mut outgoing: Outgoing,
    ) -> Result<(Response<Bytes>, Course), Failure> {
        let mut course = Course::default();
        // A delay of no seconds adds up to nothing, so it is the time itself that counts.
        let mut asked_to_wait: Option<Instant> = None;
        loop {
            let answer = match self.send(&outgoing).await {
                Ok(answer) => answer,
                Err(failure) => return Err(failure.with_course(course)),
            };
            let fail = |kind, answer, course| Err(Failure::new(kind).with_answer(answer).with_course(course));
            match judge::next(outgoing.request.method(), &outgoing.url, &answer) {
                Next::Done => return Ok((answer, course)),
                Next::Wait(delay) => {
                    let gone = asked_to_wait.map(|first| first.elapsed()).unwrap_or_default();
                    if gone + delay > self.patience.retry {
                        return fail(FailureKind::Waiting, answer, course);
                    }
                    asked_to_wait.get_or_insert_with(Instant::now);
                    sleep(delay).await;
                    course.waited += delay;
                }
                Next::Follow { .. } if course.redirects.len() == MAX_REDIRECTS => {
                    return fail(FailureKind::Redirect, answer, course);
                }
                Next::Follow { url, method } => {
                    outgoing = match outgoing.redirected(dialect, url.clone(), method.clone()) {
                        Ok(redirected) => redirected,
                        Err(_) => return fail(FailureKind::Redirect, answer, course),
                    };
                    course.redirects.push(Redirect {
                        status: answer.status(),
                        to: url,
                        method,
                    });
                }
                Next::Astray => return fail(FailureKind::Redirect, answer, course),
            }
        }
    }
}

type Question = Request<Pieces>;

/// Why there is no answer.
enum Unanswered {
    /// Nothing was sent: the connection was closed before.
    Unsent(Box<Question>, hyper::Error),
    Failed(Failure),
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The whole answer to `request`, if its body has `max` bytes at most.
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
            .with_source("`content-length` and `transfer-encoding` at once, which KAZOO's client takes for no HTTP")
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
