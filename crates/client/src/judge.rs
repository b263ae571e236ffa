//! Treats responses as KAZOO and its HTTP client do. No I/O.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};

use kazoo_storage::settings::StorageUrl;

use super::{failure::FailureKind, status::is_known_error};

/// Maximum number of redirects that KAZOO follows.
pub(super) const MAX_REDIRECTS: usize = 10;

/// The action after a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The response is final.
    Done,
    /// Sends the same request again after this time.
    Wait(Duration),
    /// Sends a request to another URL. A GET has no body.
    Follow { url: StorageUrl, method: Method },
    /// The response is a redirect without a `Location` that KAZOO can follow.
    InvalidLocation,
}

/// Returns the action after `answer` to a request with `method` for `url`.
///
/// KAZOO's HTTP client waits, and follows redirects of GET and POST. KAZOO itself follows redirects of PUT, but only to absolute
/// URLs.
pub(super) fn next(method: &Method, url: &StorageUrl, answer: &Response<Bytes>) -> Next {
    if let Some(delay) = retry_after(answer) {
        return Next::Wait(delay);
    }
    let method = match (answer.status().as_u16(), method) {
        (301 | 302, &Method::PUT) | (307, &Method::POST) => method.clone(),
        (301..=303 | 307, &Method::GET) | (301..=303, &Method::POST) => Method::GET,
        _ => return Next::Done,
    };
    let location = answer.headers().get(header::LOCATION);
    let location = location.and_then(|location| location.to_str().ok()).unwrap_or_default();
    let absolute = if location.starts_with('/') && method != Method::PUT {
        let scheme = url.scheme();
        match location.strip_prefix("//") {
            Some(rest) => format!("{scheme}://{rest}"),
            None => format!("{scheme}://{}{location}", url.host_and_port()),
        }
    } else {
        location.to_owned()
    };
    match StorageUrl::parse(absolute) {
        Ok(url) => Next::Follow { url, method },
        Err(_) => Next::InvalidLocation,
    }
}

/// Returns the delay of a 503 with a `Retry-After` of one or two characters. With a longer one or a date, a 503 is an ordinary
/// error.
fn retry_after(answer: &Response<Bytes>) -> Option<Duration> {
    if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    if !matches!(seconds.len(), 1 | 2) {
        return None;
    }
    seconds.parse().ok().map(Duration::from_secs)
}

/// Returns the failure of a store whose final response has this `status`.
pub(super) fn store(status: StatusCode) -> Result<(), FailureKind> {
    if status.is_success() {
        Ok(())
    } else {
        Err(error(status))
    }
}

/// Returns the failure of a fetch whose final response has this `status`.
pub(super) fn fetch(status: StatusCode) -> Result<(), FailureKind> {
    if status == StatusCode::OK {
        Ok(())
    } else {
        Err(error(status))
    }
}

fn error(status: StatusCode) -> FailureKind {
    if is_known_error(status.as_u16()) {
        FailureKind::Refused
    } else {
        FailureKind::Crash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Response<Bytes> {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        answer.body(Bytes::new()).unwrap()
    }

    fn after(method: &Method, status: u16, headers: &[(&str, &str)]) -> Next {
        let url = StorageUrl::parse("http://u:p@h:81/prefix?x").unwrap();
        next(method, &url, &answer(status, headers))
    }

    fn follow(url: &str, method: Method) -> Next {
        let url = StorageUrl::parse(url).unwrap();
        Next::Follow { url, method }
    }

    #[test]
    fn retries_a_503_with_one_or_two_digits() {
        for method in [Method::PUT, Method::POST, Method::GET] {
            for (seconds, delay) in [("0", 0), ("5", 5), ("99", 99)] {
                let waits = Next::Wait(Duration::from_secs(delay));
                assert_eq!(after(&method, 503, &[("retry-after", seconds)]), waits);
                assert_eq!(after(&method, 429, &[("retry-after", seconds)]), Next::Done);
            }
            for plain in ["100", "120", "", "Wed, 21 Oct 2015 07:28:00 GMT", "a"] {
                assert_eq!(after(&method, 503, &[("retry-after", plain)]), Next::Done, "{plain}");
            }
            assert_eq!(after(&method, 503, &[]), Next::Done);
        }
    }

    #[test]
    fn follows_a_redirected_put_only_to_absolute_urls() {
        let to = [("location", "https://other/p")];
        for status in [301, 302] {
            assert_eq!(after(&Method::PUT, status, &to), follow("https://other/p", Method::PUT));
            assert_eq!(
                after(&Method::PUT, status, &[("location", "/p")]),
                Next::InvalidLocation
            );
            assert_eq!(after(&Method::PUT, status, &[]), Next::InvalidLocation);
        }
        for status in [303, 307, 308] {
            assert_eq!(after(&Method::PUT, status, &to), Next::Done);
            assert_eq!(store(StatusCode::from_u16(status).unwrap()), Err(FailureKind::Crash));
        }
    }

    #[test]
    fn a_redirected_post_becomes_a_get() {
        let to = [("location", "/p")];
        for status in [301, 302, 303] {
            assert_eq!(after(&Method::POST, status, &to), follow("http://h:81/p", Method::GET));
            assert_eq!(after(&Method::GET, status, &to), follow("http://h:81/p", Method::GET));
        }
        assert_eq!(after(&Method::POST, 307, &to), follow("http://h:81/p", Method::POST));
        let elsewhere = [("location", "//other/p")];
        assert_eq!(
            after(&Method::GET, 307, &elsewhere),
            follow("http://other/p", Method::GET)
        );
        for method in [Method::POST, Method::GET] {
            assert_eq!(after(&method, 308, &to), Next::Done);
            assert_eq!(after(&method, 302, &[]), Next::InvalidLocation);
        }
    }

    #[test]
    fn a_store_accepts_any_success_and_a_fetch_only_200() {
        for status in [200, 201, 203, 204, 206, 299] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(store(status), Ok(()));
            let expected = if status == 200 { Ok(()) } else { Err(FailureKind::Crash) };
            assert_eq!(fetch(status), expected);
        }
        for (status, kind) in [
            (304, FailureKind::Crash),
            (400, FailureKind::Refused),
            (404, FailureKind::Refused),
            (420, FailureKind::Crash),
            (425, FailureKind::Crash),
            (499, FailureKind::Refused),
            (507, FailureKind::Refused),
            (509, FailureKind::Crash),
            (599, FailureKind::Refused),
            (600, FailureKind::Crash),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!((store(status), fetch(status)), (Err(kind), Err(kind)));
        }
    }
}
