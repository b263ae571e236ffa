//! Request ids: a client's own id, or a new one.

use http::{HeaderName, HeaderValue, Request};
use kazoo_storage::observe::RequestId;
use tower_http::request_id::{self, MakeRequestId};

use crate::log::redact::Redactor;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Removes ids that must not be logged or returned: an invalid one, one that contains a secret, or several.
pub(super) fn sanitize<B>(mut request: Request<B>, redactor: &Redactor) -> Request<B> {
    let is_single = request.headers().get_all(X_REQUEST_ID).iter().nth(1).is_none();
    let is_kept = RequestId::received(request.headers())
        .is_some_and(|id| is_single && redactor.value(id.as_str()) == id.as_str());
    if !is_kept {
        request.headers_mut().remove(X_REQUEST_ID);
    }
    request
}

/// Generates an id for each request without one.
#[derive(Clone, Copy)]
pub(super) struct GenerateId;

impl MakeRequestId for GenerateId {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<request_id::RequestId> {
        let id = HeaderValue::from_str(RequestId::generate().as_str()).ok()?;
        Some(request_id::RequestId::new(id))
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
            (&*"a".repeat(64), true),
            ("", false),
            ("two words", false),
            ("+49301", false),
            ("a=\"b\"", false),
            (&*"a".repeat(65), false),
        ] {
            let request = Request::get("/").header(X_REQUEST_ID, id).body(()).unwrap();
            assert_eq!(
                sanitize(request, &redactor).headers().contains_key(X_REQUEST_ID),
                is_kept,
                "{id}"
            );
        }
        let several = Request::get("/").header(X_REQUEST_ID, "1").header(X_REQUEST_ID, "2");
        let several = sanitize(several.body(()).unwrap(), &redactor);
        assert!(!several.headers().contains_key(X_REQUEST_ID));
    }

    #[test]
    fn makes_different_ids() {
        let make = || GenerateId.make_request_id(&Request::new(())).unwrap();
        let (one, other) = (make(), make());
        assert_eq!(one.header_value().len(), 16);
        assert_ne!(one.header_value(), other.header_value());
    }
}
