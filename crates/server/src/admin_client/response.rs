//! [`Response`]: a response that is read in parts.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    STALL, foreign,
    pool::{Pool, Sender},
};
use crate::log;

/// Maximum length of a response that is read whole, or of a line of another one, in bytes.
const MAX_LEN: usize = 16 << 20;

/// A response that is read in parts.
pub(crate) struct Response {
    pub(super) server: String,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    /// Bytes that were received and not returned.
    rest: Bytes,
    /// The beginning of a line, which comes before `rest`.
    line: BytesMut,
    /// The connection, until the response was read to its end.
    connection: Option<Sender>,
    pool: Pool,
}

impl Response {
    /// Creates a response that arrives on the connection of `sender`, which comes from `pool` and goes back there.
    pub(super) fn new(server: String, response: http::Response<Incoming>, sender: Sender, pool: Pool) -> Self {
        let (head, body) = response.into_parts();
        Self {
            server,
            headers: head.headers,
            body,
            rest: Bytes::new(),
            line: BytesMut::new(),
            connection: Some(sender),
            pool,
        }
    }

    /// Returns the whole response.
    pub(crate) async fn json<T: DeserializeOwned>(mut self) -> Result<T, String> {
        let mut whole = BytesMut::new();
        while let Some(part) = self.part(usize::MAX).await? {
            whole.extend_from_slice(&part);
            self.check_length(whole.len())?;
        }
        serde_json::from_slice(&whole).map_err(|error| self.unusable(&error.to_string()))
    }

    /// Returns the JSON in the next line, or `None` at the end.
    pub(crate) async fn line<T: DeserializeOwned>(&mut self) -> Result<Option<T>, String> {
        loop {
            let Some(part) = self.part(usize::MAX).await? else {
                return Ok(None);
            };
            if let Some(end) = part.iter().position(|byte| *byte == b'\n') {
                self.line.extend_from_slice(part.get(..end).unwrap_or_default());
                self.rest = part.slice(end + 1..);
                let value = serde_json::from_slice(&self.line.split());
                return value.map(Some).map_err(|error| self.unusable(&error.to_string()));
            }
            self.line.extend_from_slice(&part);
            self.check_length(self.line.len())?;
        }
    }

    /// Returns at most `max` bytes of the content, or `None` at its end.
    pub(crate) async fn part(&mut self, max: usize) -> Result<Option<Bytes>, String> {
        if self.rest.is_empty() {
            match self.chunk().await? {
                Some(chunk) => self.rest = chunk,
                None => return Ok(None),
            }
        }
        let len = self.rest.len().min(max);
        Ok(Some(self.rest.split_to(len)))
    }

    /// Receives the next chunk. Returns `None` at the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
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

    /// Fails if a response or a line is too long.
    fn check_length(&self, len: usize) -> Result<(), String> {
        if len > MAX_LEN {
            return Err(self.unusable("it is too long"));
        }
        Ok(())
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
