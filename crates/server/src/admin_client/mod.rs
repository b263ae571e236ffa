//! [`AdminClient`]: calls the admin endpoint of a running server.

mod follow;
mod listing;
mod pool;
mod response;
pub(crate) mod values;

use std::{path::Path, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use self::pool::{Pool, Sender};
pub(crate) use self::{follow::follow, listing::Listing, response::Response};
use crate::{
    cli::{AdminClientOptions, AdminServer, AdminServerOptions},
    flag_file, log,
    printable::complain,
};

/// Time limit for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Maximum length of the buffer of a connection, in bytes. A part of a response keeps the buffer that it arrived in.
const BUFFER: usize = 128 << 10;

/// Time limit for the next part of a response. The server ends a connection without progress earlier.
const STALL: Duration = Duration::from_secs(60);

/// A server, and the token for its API.
pub(crate) struct AdminClient {
    server: AdminServer,
    token: Option<String>,
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
        let only_reads = method == Method::GET;
        let request = self.build(method, target, json, etag)?;
        self.exchange(request, only_reads).await
    }

    /// Sends a POST that only reads.
    pub(crate) async fn query(&self, target: &str, json: Value) -> Result<(StatusCode, Response), String> {
        let request = self.build(Method::POST, target, Some(json), None)?;
        self.exchange(request, true).await
    }

    /// Sends a POST that only reads, and returns its result.
    pub(crate) async fn read(&self, target: &str, json: Value) -> Result<Value, String> {
        Self::accepted(self.query(target, json).await?).await?.json().await
    }

    fn build(
        &self,
        method: Method,
        target: &str,
        json: Option<Value>,
        etag: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, String> {
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
        request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.failed(&error))
    }

    /// Sends a request on an idle connection, or else on a new one. The server may have closed an idle connection meanwhile. Then a
    /// request that was not sent, or that `only_reads`, is sent once more, on a new connection.
    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        only_reads: bool,
    ) -> Result<(StatusCode, Response), String> {
        let mut idle = self.pool.take().await;
        let (response, sender) = loop {
            let is_idle = idle.is_some();
            let mut sender = match idle.take() {
                Some(sender) => sender,
                None => self.handshake().await?,
            };
            let response = timeout(STALL, sender.send_request(request.clone())).await;
            match response.map_err(|_| format!("the server at {} does not answer", self.server))? {
                Err(error) if is_idle && (error.is_canceled() || only_reads) => {}
                response => break (response.map_err(|error| self.failed(&error))?, sender),
            }
        };
        let status = response.status();
        let response = Response::new(self.server.to_string(), response, sender, self.pool.clone());
        Ok((status, response))
    }

    fn failed(&self, error: &dyn std::error::Error) -> String {
        format!("the server at {} failed: {}", self.server, log::chain(error))
    }

    /// Opens a connection.
    async fn handshake(&self) -> Result<Sender, String> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(self.connect().await?))
            .await
            .map_err(|error| self.failed(&error))?;
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

    /// Returns the first line of the next request.
    async fn target(stream: &mut TcpStream) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n{}") {
            request.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
    }

    /// Returns a client with an idle connection, and the end of the server.
    async fn idle(listener: &TcpListener) -> (AdminClient, TcpStream) {
        let address = listener.local_addr().unwrap().to_string();
        let client = AdminClient::anonymous(AdminServerOptions {
            admin: AdminServer::Tcp(address),
        });
        let first = client.query("/first", json!({}));
        let (first, stream) = tokio::join!(first, async {
            let (mut stream, _) = listener.accept().await.unwrap();
            target(&mut stream).await;
            stream.write_all(RESPONSE).await.unwrap();
            stream
        });
        first.unwrap().1.json::<Value>().await.unwrap();
        (client, stream)
    }

    #[tokio::test]
    async fn repeats_a_request_that_only_reads_if_an_idle_connection_closes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, mut stream) = idle(&listener).await;
        let server = tokio::spawn(async move {
            let before = target(&mut stream).await;
            drop(stream);
            let (mut stream, _) = listener.accept().await.unwrap();
            let targets = [before, target(&mut stream).await];
            stream.write_all(RESPONSE).await.unwrap();
            targets
        });
        let (status, _) = client.query("/second", json!({})).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        assert_eq!(server.await.unwrap(), ["POST /second HTTP/1.1"; 2]);
    }

    #[tokio::test]
    async fn repeats_no_change_and_no_request_on_a_new_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, mut stream) = idle(&listener).await;
        let change = client.request(Method::POST, "/second", Some(json!({})), None);
        let (changed, ()) = tokio::join!(change, async {
            target(&mut stream).await;
            drop(stream);
        });
        assert!(changed.is_err());
        let (third, ()) = tokio::join!(client.query("/third", json!({})), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            target(&mut stream).await;
        });
        assert!(third.is_err());
    }
}
