//! A request with its expected result, and the pieces of which requests are made.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use kazoo_storage::BlobKey;

use crate::seen::Mark;

/// A request and its expected result.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) head: Request<()>,
    pub(crate) body: Bytes,
    pub(crate) expect: Expect,
    /// `true` if the body itself shows where it ends.
    pub(crate) delimited: bool,
}

pub(crate) enum Expect {
    /// This body is emitted, with this `content-type`.
    Emitted(Bytes, Option<&'static str>),
    /// No complete body is emitted, and the response has this status.
    Answered(StatusCode),
}

impl Sample {
    pub(crate) fn new(name: &'static str, head: Request<()>, body: impl Into<Bytes>, expect: Expect) -> Self {
        Self {
            name,
            head,
            body: body.into(),
            expect,
            delimited: false,
        }
    }

    pub(crate) fn delimited(mut self) -> Self {
        self.delimited = true;
        self
    }
}

pub(crate) const ALL: &[&str] = &["PUT", "POST", "GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "PROPFIND"];

pub(crate) const BUT_STORES: &[&str] = &["GET", "HEAD", "DELETE", "OPTIONS", "PATCH"];

/// A PUT as KAZOO sends it, of a body of this type.
pub(crate) fn put(target: &str, content_type: Option<&str>) -> Request<()> {
    let mut request = Request::put(target)
        .header("te", "")
        .header("host", "127.0.0.1:8080")
        .header("connection", "keep-alive")
        .extension(Mark(7));
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    request.body(()).unwrap()
}

pub(crate) fn get(target: &str) -> Request<()> {
    Request::get(target)
        .header("te", "")
        .extension(Mark(8))
        .body(())
        .unwrap()
}

pub(crate) fn with<T: Clone + Send + Sync + 'static>(mut head: Request<()>, extension: T) -> Request<()> {
    head.extensions_mut().insert(extension);
    head
}

pub(crate) fn key(path: &str) -> BlobKey {
    BlobKey::from_path(path).unwrap()
}

pub(crate) fn emitted(body: impl Into<Bytes>, content_type: &'static str) -> Expect {
    Expect::Emitted(body.into(), Some(content_type))
}

pub(crate) const REFUSED: Expect = Expect::Answered(StatusCode::BAD_REQUEST);

/// Binary media that begins like an MP3 file and contains text that looks like a delimiter.
pub(crate) fn media(len: usize) -> Vec<u8> {
    let noise = (0..=u8::MAX).cycle().step_by(37);
    b"ID3\x04\0\0\xff\r\n--B\r\n----\r\n"
        .iter()
        .copied()
        .chain(noise)
        .take(len)
        .collect()
}

/// Encodes `media` as base64, independently of the decoder under test.
pub(crate) fn base64(media: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    media
        .chunks(3)
        .flat_map(|group| {
            let bits = group
                .iter()
                .fold(0_usize, |bits, byte| (bits << 8) | usize::from(*byte))
                << (8 * (3 - group.len()));
            (0..4).map(move |place| {
                if place <= group.len() {
                    char::from(LETTERS[(bits >> (18 - 6 * place)) & 63])
                } else {
                    '='
                }
            })
        })
        .collect()
}
