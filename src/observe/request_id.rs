//! What tells one request from another in a log.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, HeaderValue};

const HEADER: &str = "x-request-id";

/// The longest that is taken from a client; that of a UUID is 36.
const MAX_LEN: usize = 64;

/// The id of a request: that of its `x-request-id`, which a proxy or an outer layer sets, or one made here.
pub(super) enum RequestId {
    Given(HeaderValue),
    Made(String),
}

impl RequestId {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match headers.get(HEADER) {
            Some(value) if is_sane(value.as_bytes()) => Self::Given(value.clone()),
            _ => Self::Made(make()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Given(value) => value.to_str().unwrap_or_default(),
            Self::Made(text) => text,
        }
    }
}

/// It goes into logs as it is.
fn is_sane(value: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_LEN).contains(&value.len()) && value.iter().all(letter)
}

fn make() -> String {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static MADE: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}", SEED.hash_one(MADE.fetch_add(1, Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(given: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(given).unwrap());
        RequestId::of(&headers).as_str().to_owned()
    }

    #[test]
    fn a_sane_one_is_taken_and_every_other_replaced() {
        for sane in ["7", "c0ffee-1_2.X", &"a".repeat(MAX_LEN)] {
            assert_eq!(id(sane.as_bytes()), sane);
        }
        let insane: [&[u8]; 6] = [
            b"",
            b"two words",
            b"a\xffb",
            b"+49301",
            b"a=\"b\"",
            &[b'a'; MAX_LEN + 1],
        ];
        for given in insane {
            let made = id(given);
            assert!(
                made.len() == 16 && made.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{made}"
            );
        }
        assert_ne!(id(b""), id(b""));
    }
}
