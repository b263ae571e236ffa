//! Uploads as KAZOO sends them.

use bytes::Bytes;

/// A boundary of 64 characters, as KAZOO generates them.
pub const BOUNDARY: &str = "k8Zt0aQx_YB7Uq4v1LdWm3Rj9NsHc2EoP6gIfTnKbVyXwSz5DlMuAeJrGhCi0O-F";

/// Returns `len` bytes that are as hard to compress as audio.
#[must_use]
pub fn media(len: usize) -> Bytes {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    });
    words.flatten().take(len).collect()
}

/// Returns a body with two parts, the JSON and `media`. As in KAZOO, it begins with a line break and ends without one.
#[allow(dead_code)] // Not every bench uses multipart.
#[must_use]
pub fn multipart(media: &[u8]) -> Bytes {
    let json = r#"{"id":"202401-0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7","call_id":"b3f6","length":12,"folder":"new"}"#;
    let head = format!(
        "\r\n--{BOUNDARY}\r\ncontent-disposition: form-data; name=202401-0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7\r\n\
         content-type: application/json\r\n\r\n{json}\r\n--{BOUNDARY}\r\n\
         content-disposition: form-data; name=message.mp3\r\ncontent-type: audio/mpeg\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--");
    [head.as_bytes(), media, tail.as_bytes()].concat().into()
}
