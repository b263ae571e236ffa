//! [`AdminClient`]: calls the admin endpoint of a running server.

mod follow;
mod pool;
pub(crate) mod values;

use std::{path::Path, process::ExitCode, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

pub(crate) use self::follow::follow;
use self::pool::{Pool, Sender};
use crate::{
    cli::{AdminClientOptions, AdminServer, AdminServerOptions},
    flag_file, log,
    printable::complain,
};

/// Time limit for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Time limit for the next part of a response. The server ends a connection without progress earlier.
const STALL: Duration = Duration::from_secs(60);

/// Maximum length of a response that is read whole, or of a line of another one, in bytes.
const MAX_LEN: usize = 16 << 20;

/// A server, and the token for its API.
pub(crate) struct AdminClient {
    server: AdminServer,
    token: Option<String>,
    pool: Pool,
}

/// A response that is read in parts.
pub(crate) struct Response {
    server: String,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    /// Bytes that were received and not returned.
    buffer: BytesMut,
    /// The connection, until the response was read to its end.
    connection: Option<Sender>,
    pool: Pool,
}

/// Runs a command that uses the API, and prints its error on stderr.
pub(crate) fn run(command: impl Future<Output = Result<ExitCode, String>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(command));
    result.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::FAILURE
    })
}

impl AdminClient {
    pub(crate) fn new(options: AdminClientOptions) -> Result<Self, String> {
        let file = options.admin_token_file.ok_or(
            "the token is missing; pass --admin-token-file with the file that the server has as --admin-token-file",
        )?;
        Ok(Self {
            server: options.server.admin,
            token: Some(token(&file)?),
            pool: Pool::default(),
        })
    }

    /// Creates a client without a token, which can use only the paths outside the API.
    pub(crate) fn anonymous(options: AdminServerOptions) -> Self {
        Self {
            server: options.admin,
            token: None,
            pool: Pool::default(),
        }
    }

    pub(crate) async fn get(&self, target: &str) -> Result<Value, String> {
        self.send(Method::GET, target, None).await?.json().await
    }

    /// Asks whether the server is ready. Returns the reason if it is not.
    pub(crate) async fn readiness(&self) -> Result<(), String> {
        let (status, response) = self.request(Method::GET, "/readyz", None, None).await?;
        let server = response.server.clone();
        let foreign = foreign(&server, status);
        let answer: Value = response.json().await.map_err(|_| foreign.clone())?;
        let text = |name| answer.get(name).and_then(Value::as_str);
        match (status, text("status"), text("reason"), text("message")) {
            (StatusCode::OK, Some("ready"), ..) => Ok(()),
            (StatusCode::SERVICE_UNAVAILABLE, _, Some(reason), Some(message)) => {
                Err(format!("the server at {server} is not ready ({reason}): {message}"))
            }
            _ => Err(foreign),
        }
    }

    /// Sends a request. Returns the response if the server has accepted the request.
    pub(crate) async fn send(&self, method: Method, target: &str, json: Option<Value>) -> Result<Response, String> {
        Self::accepted(self.request(method, target, json, None).await?).await
    }

    /// Removes what `target` names. With `etag`, only if it still has this entity tag.
    pub(crate) async fn delete(&self, target: &str, etag: Option<&str>) -> Result<Response, String> {
        Self::accepted(self.request(Method::DELETE, target, None, etag).await?).await
    }

    async fn accepted((status, response): (StatusCode, Response)) -> Result<Response, String> {
        match status {
            StatusCode::OK => Ok(response),
            status => Err(response.refusal(status).await),
        }
    }

    /// Sends a request. Fails if there is no response.
    pub(crate) async fn request(
        &self,
        method: Method,
        target: &str,
        json: Option<Value>,
        etag: Option<&str>,
    ) -> Result<(StatusCode, Response), String> {
        let server = self.server.to_string();
        let failed = |error: &dyn std::error::Error| format!("the server at {server} failed: {}", log::chain(error));
        let host = match &self.server {
            AdminServer::Tcp(authority) => authority.as_str(),
            AdminServer::Unix(_) => "localhost",
        };
        let body = json.map(|json| json.to_string()).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(target).header(header::HOST, host);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(etag) = etag {
            request = request.header(header::IF_MATCH, etag);
        }
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| failed(&error))?;
        let (mut response, sender) = loop {
            let idle = self.pool.take().await;
            let is_idle = idle.is_some();
            let mut sender = match idle {
                Some(sender) => sender,
                None => self.handshake().await?,
            };
            let response = timeout(STALL, sender.send_request(request.clone())).await;
            let response = response.map_err(|_| format!("the server at {server} does not answer"))?;
            match response {
                // The server has closed it meanwhile. A change may have been made.
                Err(error) if is_idle && (error.is_canceled() || request.method() == Method::GET) => {}
                response => break (response.map_err(|error| failed(&error))?, sender),
            }
        };
        let status = response.status();
        let response = Response {
            server,
            headers: std::mem::take(response.headers_mut()),
            body: response.into_body(),
            buffer: BytesMut::new(),
            connection: Some(sender),
            pool: self.pool.clone(),
        };
        Ok((status, response))
    }

    /// Opens a connection.
    async fn handshake(&self) -> Result<Sender, String> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.connect().await?))
            .await
            .map_err(|error| format!("the server at {} failed: {}", self.server, log::chain(&error)))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let connected = async {
            let stream: Box<dyn Stream> = match &self.server {
                AdminServer::Tcp(authority) => Box::new(TcpStream::connect(authority).await?),
                AdminServer::Unix(path) => Box::new(UnixStream::connect(path).await?),
            };
            std::io::Result::Ok(stream)
        };
        let unreachable = |why: String| {
            format!(
                "cannot reach the server at {}: {why}; is it running with --admin, and is this its address?",
                self.server
            )
        };
        let connected = timeout(CONNECT, connected).await;
        let connected = connected.map_err(|_| unreachable("it does not answer".to_owned()))?;
        connected.map_err(|error| unreachable(error.to_string()))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Response {
    /// Returns the whole response.
    pub(crate) async fn json<T: DeserializeOwned>(mut self) -> Result<T, String> {
        while self.read().await? {}
        serde_json::from_slice(&self.buffer).map_err(|error| self.unusable(&error.to_string()))
    }

    /// Returns the JSON in the next line, or `None` at the end.
    pub(crate) async fn line<T: DeserializeOwned>(&mut self) -> Result<Option<T>, String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                let value = serde_json::from_slice(&line);
                return value.map(Some).map_err(|error| self.unusable(&error.to_string()));
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Returns the next chunk as it arrives, or `None` at the end. It ignores the buffer of [`part`](Self::part).
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        let frame = timeout(STALL, self.body.frame()).await;
        let frame = frame.map_err(|_| self.unusable("it has stalled"))?;
        let Some(frame) = frame else {
            if let Some(sender) = self.connection.take() {
                self.pool.put(sender);
            }
            return Ok(None);
        };
        let frame = frame.map_err(|error| self.unusable(&log::chain(&error)))?;
        Ok(Some(frame.into_data().unwrap_or_default()))
    }

    /// Returns at most `max` bytes of the content, or `None` at its end.
    pub(crate) async fn part(&mut self, max: usize) -> Result<Option<Bytes>, String> {
        if !self.buffer.is_empty() {
            let len = self.buffer.len().min(max);
            return Ok(Some(self.buffer.split_to(len).freeze()));
        }
        let Some(mut chunk) = self.chunk().await? else {
            return Ok(None);
        };
        let part = chunk.split_to(chunk.len().min(max));
        self.buffer.extend_from_slice(&chunk);
        Ok(Some(part))
    }

    /// Reads the next part. Returns `false` at the end.
    async fn read(&mut self) -> Result<bool, String> {
        let Some(chunk) = self.chunk().await? else {
            return Ok(false);
        };
        self.buffer.extend_from_slice(&chunk);
        if self.buffer.len() > MAX_LEN {
            return Err(self.unusable("it is too long"));
        }
        Ok(true)
    }

    /// Returns the error in the response.
    pub(crate) async fn refusal(self, status: StatusCode) -> String {
        let server = self.server.clone();
        let json: Option<Value> = self.json().await.ok();
        let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
        match message {
            Some(message) => format!("the server at {server} refused: {message}"),
            None => foreign(&server, status),
        }
    }

    fn unusable(&self, why: &str) -> String {
        format!("the response of the server at {} is unusable: {why}", self.server)
    }
}

fn foreign(server: &str, status: StatusCode) -> String {
    format!("the server at {server} answered {status}, not as kazoo-storage does; is this its --admin?")
}

fn token(file: &Path) -> Result<String, String> {
    let text = flag_file::read_text("--admin-token-file", file)?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("--admin-token-file {}: it has no token", file.display()));
    }
    Ok(token.to_owned())
}
