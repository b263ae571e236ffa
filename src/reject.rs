//! Converts an [`Error`] to a response.

use http::{HeaderValue, Response, header};
use serde_json::json;

use crate::{
    body::Body,
    error::{Error, ErrorKind},
    outcome::Outcome,
};

impl Error {
    /// Returns the body of the response for this error: a small JSON object with `error` (the kind), `message` and
    /// `status`.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({
            "error": self.kind().as_str(),
            "message": self.message(),
            "status": self.status().as_u16(),
        })
        .to_string()
    }

    /// Returns the response for this error, with its status and [a JSON body](Self::to_json).
    ///
    /// KAZOO decodes the object and shows it to the administrator only if the `content-type` is exactly
    /// `application/json`. The response carries the error itself as [`Outcome::Failed`], from which
    /// [`FormatErrors`](crate::FormatErrors) makes a response in another format.
    #[must_use]
    pub fn to_response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.to_json()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.kind() == ErrorKind::Unauthorized {
            let challenge = HeaderValue::from_static("Basic realm=\"storage\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(delay) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, delay.as_secs().into());
        }
        response
            .extensions_mut()
            .insert(Outcome::Failed { error: self.clone() });
        response
    }
}
