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
    buffer: BytesMut,
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
            buffer: BytesMut::new(),
            connection: Some(sender),
            pool,
        }
    }

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
