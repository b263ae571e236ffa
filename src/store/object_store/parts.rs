//! [`Parts`]: splits an upload into parts of one size.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use object_store::{PutPayload, PutPayloadMut};

use crate::{body::Body, error::Result};

/// The size of an allocation, in bytes. Chunks are copied: each small chunk could pin the whole buffer that it is a
/// slice of.
const BLOCK: usize = 64 << 10;

/// The bytes of the body, followed by the trailer.
pub(super) struct Parts {
    body: Body,
    trailer: Option<Bytes>,
    size: usize,
    /// Bytes that were read and belong to the next part.
    ahead: Bytes,
}

/// A part to store.
pub(super) enum Part {
    /// A part of the full size. More bytes follow.
    Full(PutPayload),
    /// The last part, which may be empty.
    Last(PutPayload),
}

impl Parts {
    pub(super) fn new(body: Body, trailer: Option<Bytes>, size: usize) -> Self {
        Self {
            body,
            trailer,
            size,
            ahead: Bytes::new(),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Part> {
        let mut payload = PutPayloadMut::new().with_block_size(BLOCK.min(self.size));
        loop {
            let remaining = self.size.saturating_sub(payload.content_length());
            if self.ahead.len() > remaining {
                payload.extend_from_slice(&self.ahead.split_to(remaining));
                return Ok(Part::Full(payload.freeze()));
            }
            payload.extend_from_slice(&std::mem::take(&mut self.ahead));
            match self.read().await? {
                Some(data) => self.ahead = data,
                None => return Ok(Part::Last(payload.freeze())),
            }
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(self.trailer.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lengths of the parts, and the bytes of all of them.
    async fn cut(content: &'static str, trailer: Option<&'static str>, size: usize) -> (Vec<usize>, String) {
        let mut parts = Parts::new(Body::from(content), trailer.map(Bytes::from), size);
        let (mut lens, mut all) = (Vec::new(), Vec::new());
        loop {
            let (payload, last) = match parts.next().await.unwrap() {
                Part::Full(payload) => (payload, false),
                Part::Last(payload) => (payload, true),
            };
            lens.push(payload.content_length());
            all.extend(payload.iter().flat_map(|bytes| bytes.iter().copied()));
            if last {
                return (lens, String::from_utf8(all).unwrap());
            }
        }
    }

    #[tokio::test]
    async fn every_part_but_the_last_has_the_size() {
        for (content, trailer, size, lens) in [
            ("", None, 4, vec![0]),
            ("abc", None, 4, vec![3]),
            ("abcd", None, 4, vec![4]),
            ("abcde", None, 4, vec![4, 1]),
            ("abcdefgh", None, 4, vec![4, 4]),
            ("abc", None, 1, vec![1, 1, 1]),
            ("abc", Some("{}"), 4, vec![4, 1]),
            ("", Some("{}"), 4, vec![2]),
        ] {
            let expected = format!("{content}{}", trailer.unwrap_or_default());
            assert_eq!(cut(content, trailer, size).await, (lens, expected));
        }
    }
}
