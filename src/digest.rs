//! [`Digest`], the SHA-256 that is stored with a file.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use md5::Md5;
use sha2::{Digest as _, Sha256, Sha512};

/// The SHA-256 of a file's content. `to_string` formats it as `sha256sum` does.
///
/// ```
/// use kazoo_storage::digest::Digest;
///
/// let digest = Digest::of(b"abc");
/// assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
/// assert_eq!(Digest::from_hex(&digest.to_string()), Some(digest));
/// assert_eq!(Digest::from_bytes(*digest.as_bytes()), digest);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Computes the digest of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let mut digester = Digester::new();
        digester.update(content);
        digester.finish()
    }

    /// Wraps the 32 bytes of a SHA-256.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes of the SHA-256.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses 64 hexadecimal digits; returns `None` for any other text.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks();
        let pairs: &[[u8; 2]; 32] = pairs.try_into().ok().filter(|_| rest.is_empty())?;
        let digit = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(bytes))
    }

    /// Returns the value of a `Repr-Digest` header (RFC 9530).
    #[must_use]
    pub fn repr_digest(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("sha-256=:{}:", STANDARD.encode(self.0))).ok()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each description of a stored file has it, and formatting byte by byte takes microseconds.
        let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
        let mut text = [0; 64];
        for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(self.0) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Computes the [`Digest`] of content in chunks.
///
/// ```
/// use kazoo_storage::digest::{Digest, Digester};
///
/// let mut digester = Digester::new();
/// digester.update(b"ID");
/// digester.update(b"3");
/// assert_eq!(digester.finish(), Digest::of(b"ID3"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Digester(Sha256);

impl Digester {
    /// Creates a digester without content.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next chunk.
    pub fn update(&mut self, chunk: &[u8]) {
        self.0.update(chunk);
    }

    /// Returns the digest of all chunks.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// A digest algorithm that a request header may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Algorithm {
    Md5,
    Sha256,
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::Md5, Self::Sha256, Self::Sha512];

    /// Returns the algorithm with this name in the registries of RFC 3230 and RFC 9530, case-insensitively.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|algorithm| algorithm.as_str().as_bytes().eq_ignore_ascii_case(name))
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
        }
    }

    /// Decodes `encoded`, the base64 of a digest; returns `None` if it cannot be one of this algorithm.
    pub(crate) fn decode(self, encoded: &[u8]) -> Option<Vec<u8>> {
        let len = match self {
            Self::Md5 => 16,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        };
        STANDARD.decode(encoded).ok().filter(|digest| digest.len() == len)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Computes the digest of content in chunks, with one [`Algorithm`].
pub(crate) enum Hasher {
    Md5(Md5),
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Md5(_) => Algorithm::Md5,
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub(crate) fn update(&mut self, chunk: &[u8]) {
        match self {
            Self::Md5(state) => state.update(chunk),
            Self::Sha256(state) => state.update(chunk),
            Self::Sha512(state) => state.update(chunk),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Md5(state) => state.finalize().to_vec(),
            Self::Sha256(state) => state.finalize().to_vec(),
            Self::Sha512(state) => state.finalize().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest of `abc` in FIPS 180.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn agrees_with_the_standard_for_any_chunks() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        let mut digester = Digester::new();
        for chunk in ["a", "", "bc"] {
            digester.update(chunk.as_bytes());
        }
        assert_eq!(digester.finish(), Digest::of(b"abc"));
    }

    #[test]
    fn parses_only_64_hexadecimal_digits() {
        assert_eq!(Digest::from_hex(ABC), Some(Digest::of(b"abc")));
        assert_eq!(Digest::from_hex(&ABC.to_uppercase()), Some(Digest::of(b"abc")));
        for bad in [
            "",
            "ba",
            &ABC[..63],
            &format!("{ABC}0"),
            &ABC.replace('c', "g"),
            &format!("{ABC}00"),
        ] {
            assert_eq!(Digest::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn formats_the_header_of_rfc_9530() {
        let header = Digest::of(b"abc").repr_digest().unwrap();
        assert_eq!(header, "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:");
    }

    #[test]
    fn every_algorithm_computes_the_digests_of_its_standard() {
        for (algorithm, digest) in [
            (Algorithm::Md5, "kAFQmDzST7DWlj99KOF/cg=="),
            (Algorithm::Sha256, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
            (
                Algorithm::Sha512,
                "3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==",
            ),
        ] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"a");
            hasher.update(b"bc");
            assert_eq!(hasher.algorithm(), algorithm);
            assert_eq!(
                Some(hasher.finish()),
                algorithm.decode(digest.as_bytes()),
                "{algorithm}"
            );
            assert_eq!(
                Algorithm::named(algorithm.to_string().to_uppercase().as_bytes()),
                Some(algorithm)
            );
        }
        assert_eq!(Algorithm::named(b"sha"), None);
    }
}
