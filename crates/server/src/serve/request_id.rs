//! Request ids: a client's own id, or a new one.

use http::{HeaderName, HeaderValue, Request};
use tower_http::request_id::{MakeRequestId, RequestId};

use crate::log::redact::Redactor;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length of a client's id, in bytes; a UUID has 36.
const MAX_LEN: usize = 64;

/// Removes an id that must not be logged or returned, because it contains a secret or a character that ids do not
/// need.
pub(super) fn sanitize<B>(mut request: Request<B>, redactor: &Redactor) -> Request<B> {
    let mut ids = request.headers().get_all(X_REQUEST_ID).iter();
    let is_kept = match (ids.next().map(HeaderValue::to_str), ids.next()) {
        (Some(Ok(id)), None) => is_safe(id) && redactor.value(id) == id,
        _ => false,
    };
    if !is_kept {
        request.headers_mut().remove(X_REQUEST_ID);
    }
    request
}

fn is_safe(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_LEN).contains(&id.len()) && id.bytes().all(allowed)
}

/// Makes random ids of 16 hexadecimal digits.
#[derive(Clone, Copy)]
pub(super) struct RandomId;

impl MakeRequestId for RandomId {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let id = format!("{:016x}", getrandom::u64().ok()?);
        Some(RequestId::new(HeaderValue::try_from(id).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_safe_ids_only() {
        let redactor = Redactor::new("/", &["hush".to_owned()], None);
        for (id, is_kept) in [
            ("7", true),
            ("hush", false),
            ("c0ffee-1_2.X", true),
            (&*"a".repeat(MAX_LEN), true),
            ("", false),
            ("two words", false),
            ("+49301", false),
            ("a=\"b\"", false),
            (&*"a".repeat(MAX_LEN + 1), false),
        ] {
            let request = Request::get("/").header(X_REQUEST_ID, id).body(()).unwrap();
            assert_eq!(
                sanitize(request, &redactor).headers().contains_key(X_REQUEST_ID),
                is_kept,
                "{id}"
            );
        }
    }

    #[test]
    fn makes_different_ids() {
        let make = || RandomId.make_request_id(&Request::new(())).unwrap();
        let (one, other) = (make(), make());
        assert_eq!(one.header_value().len(), 16);
        assert_ne!(one.header_value(), other.header_value());
    }
}
