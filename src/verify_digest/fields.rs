//! The header fields that declare a digest of the body.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    digest::Algorithm,
    error::{Error, ErrorKind, Result},
};

/// A digest that the body must match.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) algorithm: Algorithm,
    pub(super) digest: Vec<u8>,
    /// The header that declares it.
    pub(super) header: &'static str,
}

/// The maximum number of digests in a request. Each algorithm is computed once, however many there are.
const MAX_CHECKS: usize = 16;

/// Parses the digests in `headers`.
///
/// A malformed header is an error, and so is one without a supported algorithm: its sender asks for verification.
pub(super) fn declared(headers: &HeaderMap) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for value in headers.get_all("content-md5") {
        let digest = Algorithm::Md5
            .decode(value.as_bytes().trim_ascii())
            .ok_or_else(|| malformed("content-md5"))?;
        checks.push(Check {
            algorithm: Algorithm::Md5,
            digest,
            header: "content-md5",
        });
    }
    let fields: [(&'static str, Member); 3] = [
        ("content-digest", structured_member),
        ("repr-digest", structured_member),
        ("digest", legacy_member),
    ];
    for (header, member) in fields {
        let name = HeaderName::from_static(header);
        if headers.contains_key(&name) {
            let before = checks.len();
            for value in headers.get_all(&name) {
                read(value, header, member, &mut checks)?;
            }
            if checks.len() == before {
                let message = format!(
                    "the header {header} has no supported algorithm: send sha-256 or sha-512, or omit the header"
                );
                return Err(Error::new(ErrorKind::InvalidDigest, message));
            }
        }
    }
    if checks.len() > MAX_CHECKS {
        let message =
            format!("the headers contain more than {MAX_CHECKS} digests of the body: send one for each algorithm");
        return Err(Error::new(ErrorKind::InvalidDigest, message));
    }
    Ok(checks)
}

/// Parses the comma-separated members of a header value.
fn read(value: &HeaderValue, header: &'static str, member: Member, checks: &mut Vec<Check>) -> Result<()> {
    for text in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let (key, encoded) = member(text).ok_or_else(|| malformed(header))?;
        if let Some(algorithm) = Algorithm::named(key) {
            let digest = algorithm.decode(encoded).ok_or_else(|| malformed(header))?;
            checks.push(Check {
                algorithm,
                digest,
                header,
            });
        }
    }
    Ok(())
}

/// Splits a member of a field into its algorithm and the base64 of the digest; returns `None` if it is malformed.
type Member = fn(&[u8]) -> Option<(&[u8], &[u8])>;

/// Parses `sha-256=:…:`, a dictionary member (RFC 8941) with a byte sequence as its value (RFC 9530), and its
/// parameters.
fn structured_member(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, value) = split_once(text, b'=')?;
    let starts = matches!(key, [b'a'..=b'z' | b'*', ..]);
    let is_key = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*');
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let (encoded, parameters) = split_once(value.strip_prefix(b":")?, b':')?;
    let ends = parameters.is_empty() || parameters.starts_with(b";");
    (starts && key.iter().all(is_key) && ends && encoded.iter().all(is_letter)).then_some((key, encoded))
}

/// Parses `SHA-256=…`, as in the header `Digest` of RFC 3230, which RFC 9530 has replaced.
fn legacy_member(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, value) = split_once(text, b'=')?;
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!key.is_empty() && key.iter().all(is_token) && !value.is_empty()).then_some((key, value))
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = text.iter().position(|byte| *byte == at)?;
    let (before, after) = text.split_at_checked(position)?;
    Some((before, after.get(1..)?))
}

fn malformed(header: &str) -> Error {
    let message = format!("the header {header} is malformed: send a valid digest, or omit the header");
    Error::new(ErrorKind::InvalidDigest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA_256: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
    const MD5: &str = "kAFQmDzST7DWlj99KOF/cg==";

    fn read_all(header: &'static str, values: &[&str]) -> Result<Vec<Algorithm>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HeaderName::from_static(header), value.parse().unwrap());
        }
        Ok(declared(&headers)?.into_iter().map(|check| check.algorithm).collect())
    }

    #[test]
    fn reads_every_field() {
        assert_eq!(declared(&HeaderMap::new()).unwrap(), []);
        assert_eq!(read_all("content-md5", &[MD5]).unwrap(), [Algorithm::Md5]);
        for header in ["content-digest", "repr-digest"] {
            let one = format!("sha-256=:{SHA_256}:");
            let two = format!("unixsum=:AAAA: ,\tsha-256=:{SHA_256}:;a=b, md5=:{MD5}:");
            assert_eq!(read_all(header, &[&one]).unwrap(), [Algorithm::Sha256]);
            assert_eq!(read_all(header, &[&two]).unwrap(), [Algorithm::Sha256, Algorithm::Md5]);
            assert_eq!(read_all(header, &["sha=:AAAA:", &one]).unwrap(), [Algorithm::Sha256]);
        }
        assert_eq!(
            read_all("digest", &[&format!("SHA-256={SHA_256},unixsum=30637")]).unwrap(),
            [Algorithm::Sha256]
        );
    }

    #[test]
    fn refuses_malformed_and_unknown_digests() {
        let short = &SHA_256[4..];
        for (header, value) in [
            ("content-md5", String::new()),
            ("content-md5", SHA_256.to_owned()),
            ("content-md5", "900150983cd24fb0d6963f7d28e17f72".to_owned()),
            ("content-digest", String::new()),
            ("content-digest", format!("sha-256={SHA_256}")),
            ("content-digest", format!("sha-256=\"{SHA_256}\"")),
            ("content-digest", format!("sha-256=:{SHA_256}")),
            ("content-digest", format!("sha-256=:{SHA_256}:x")),
            ("content-digest", format!("SHA-256=:{SHA_256}:")),
            ("content-digest", format!("sha-256=:{short}:")),
            ("content-digest", format!("sha-256=:{SHA_256}:,")),
            ("content-digest", "crc32c=:AAAAAA==:".to_owned()),
            ("repr-digest", "sha-256".to_owned()),
            ("repr-digest", "sha-256=::".to_owned()),
            ("digest", format!("SHA-256=:{SHA_256}:")),
            ("digest", "unixsum=30637".to_owned()),
        ] {
            let error = read_all(header, &[&value]).expect_err(&value);
            assert_eq!(error.kind(), ErrorKind::InvalidDigest, "{value}");
            assert!(error.message().contains(header), "{value}: {error}");
        }
        let many = vec![MD5; MAX_CHECKS + 1];
        assert!(read_all("content-md5", &many).is_err());
    }
}
