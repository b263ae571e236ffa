use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;

use super::ConfirmBody;
use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind, Result},
    exchange::{Begun, Exchange, Finish},
    framing::guard,
};

/// Compares a response with the end of the request's body.
#[derive(Debug)]
pub struct Confirm {
    /// The end of the body, once the handler has read it.
    end: Arc<OnceLock<Result<()>>>,
    is_post: bool,
}

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Exchange<B> for ConfirmBody {
    type Body = Body;
    type Finish = Confirm;

    fn begin(&self, request: Request<B>) -> Begun<Body, Confirm> {
        if !matches!(*request.method(), Method::PUT | Method::POST) {
            return Begun::Request(request.map(Body::new), None);
        }
        let (mut head, body) = request.into_parts();
        let body = match guard(&mut head, body) {
            Ok(body) => body,
            Err(error) => return Begun::Response(error.to_response()),
        };
        if body.is_end_stream() {
            return Begun::Request(Request::from_parts(head, body), None);
        }
        let end = Arc::new(OnceLock::new());
        let confirm = Confirm {
            end: Arc::clone(&end),
            is_post: head.method == Method::POST,
        };
        // The first end counts; `set` ignores later ones.
        let body = body.inspect(move |body, frame| match frame {
            Some(Err(error)) => drop(end.set(Err(error.clone()))),
            Some(Ok(_)) if !body.is_end_stream() => {}
            Some(Ok(_)) | None => drop(end.set(Ok(()))),
        });
        Begun::Request(Request::from_parts(head, body), Some(confirm))
    }
}

impl Finish for Confirm {
    fn finish(self, response: Response<Body>) -> Response<Body> {
        match self.end.get() {
            Some(Err(error)) => error.to_response(),
            Some(Ok(())) => response,
            None => match self.unread(response.status()) {
                Some(error) => error.to_response(),
                None => response,
            },
        }
    }
}

impl Confirm {
    /// Returns the error for a status by which the client regards an unread upload as stored, or `None` for any other.
    fn unread(&self, status: StatusCode) -> Option<Error> {
        let becomes_get = match status {
            StatusCode::SEE_OTHER => true,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.is_post,
            _ => false,
        };
        let reason = if status.is_success() {
            "so the upload may be invalid: the handler must read the whole body before it answers with a success"
        } else if becomes_get {
            "and the client follows this redirect with a GET, whose success it takes for that of the upload: read the whole body, or \
             redirect a POST with 307 and a PUT with 302, after which KAZOO sends the upload again"
        } else {
            return None;
        };
        let status = status.as_u16();
        let message = format!("the handler answered {status} without reading the upload to its end, {reason}");
        Some(Error::new(ErrorKind::Internal, message))
    }
}
