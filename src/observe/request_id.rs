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
///
/// An identifier has 1 to 64 ASCII letters, digits, `-`, `_` and `.`, so it can be logged without escaping. A generated
/// one has 16 hexadecimal digits.
#[derive(Clone, Debug)]
pub struct RequestId(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Received(HeaderValue),
    Generated(String),
}

impl RequestId {
    /// Returns the first `x-request-id` in `headers`, if it is valid.
    #[must_use]
    pub fn received(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(HEADER).filter(|value| is_valid(value.as_bytes()))?;
        Some(Self(Kind::Received(value.clone())))
    }

    /// Generates an identifier.
    #[must_use]
    pub fn generate() -> Self {
        static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let hash = SEED.hash_one(COUNT.fetch_add(1, Ordering::Relaxed));
        Self(Kind::Generated(format!("{hash:016x}")))
    }

    /// Returns the identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kind::Received(value) => value.to_str().unwrap_or_default(),
            Kind::Generated(text) => text,
        }
    }
}

/// Returns `true` if the value can be logged without escaping.
fn is_valid(value: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_LEN).contains(&value.len()) && value.iter().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(value).unwrap());
        let id = RequestId::received(&headers).unwrap_or_else(RequestId::generate);
        id.as_str().to_owned()
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
