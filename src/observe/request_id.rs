//! The identifier of a request in logs.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, HeaderValue};

const HEADER: &str = "x-request-id";

/// The maximum length of a client's identifier, in bytes. A UUID has 36.
const MAX_LEN: usize = 64;

/// The identifier of a request: its `x-request-id`, which a proxy or an outer layer sets, or a generated one.
pub(super) enum RequestId {
    Received(HeaderValue),
    Generated(String),
}

impl RequestId {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match headers.get(HEADER) {
            Some(value) if is_valid(value.as_bytes()) => Self::Received(value.clone()),
            _ => Self::Generated(generate()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Received(value) => value.to_str().unwrap_or_default(),
            Self::Generated(text) => text,
        }
    }
}

/// Returns `true` if the value can be logged without escaping.
fn is_valid(value: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_LEN).contains(&value.len()) && value.iter().all(letter)
}

fn generate() -> String {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}", SEED.hash_one(COUNT.fetch_add(1, Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(value).unwrap());
        RequestId::of(&headers).as_str().to_owned()
    }

    #[test]
    fn keeps_valid_identifiers_and_replaces_others() {
        for valid in ["7", "c0ffee-1_2.X", &"a".repeat(MAX_LEN)] {
            assert_eq!(id(valid.as_bytes()), valid);
        }
        let invalid: [&[u8]; 6] = [
            b"",
            b"two words",
            b"a\xffb",
            b"+49301",
            b"a=\"b\"",
            &[b'a'; MAX_LEN + 1],
        ];
        for value in invalid {
            let made = id(value);
            assert!(
                made.len() == 16 && made.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{made}"
            );
        }
        assert_ne!(id(b""), id(b""));
    }
}
