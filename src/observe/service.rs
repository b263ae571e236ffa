use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body as HttpBody, Frame};

use super::{End, Observe, Started, bytes_in::BytesIn, event::Record, request_id::RequestId};
use crate::{
    body::Body,
    error::{BoxError, Result},
    exchange::{Begun, Exchange, Finish},
    grant::Grant,
    outcome::Outcome,
    probe::Probe,
};

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Exchange<B> for Observe {
    type Body = Body;
    type Finish = Record;

    fn begin(&self, request: Request<B>) -> Begun<Body, Record> {
        let bytes_in = BytesIn::default();
        let record = Record {
            events: Arc::clone(&self.events),
            request_id: RequestId::received(request.headers()).unwrap_or_else(RequestId::generate),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            probe: Probe::is_named_by(request.uri()),
            started: Instant::now(),
            status: None,
            grant: None,
            outcome: None,
            bytes_in: bytes_in.clone(),
            bytes_out: 0,
            end: End::Disconnected,
            error: None,
        };
        self.events.started(&Started {
            request_id: record.request_id.as_str(),
            method: &record.method,
            path: &record.path,
        });
        let request = request.map(|body| bytes_in.count(Body::new(body)));
        Begun::Request(request, Some(record))
    }
}

impl Record {
    /// Records a frame of `body`, which is the response, or its end.
    fn sent(&mut self, body: &Body, frame: Option<&Result<Frame<Bytes>>>) {
        match frame {
            Some(Ok(frame)) => self.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(error)) => {
                self.end = End::Failed;
                self.error = Some(error.clone());
            }
            None => self.end = End::Complete,
        }
        if body.is_end_stream() {
            self.end = End::Complete;
        }
    }
}

impl Finish for Record {
    fn finish(mut self, response: Response<Body>) -> Response<Body> {
        self.status = Some(response.status());
        self.grant = response.extensions().get::<Grant>().cloned();
        self.outcome = response.extensions().get::<Outcome>().cloned();
        // A server polls neither a body that is already at its end nor the body of a response to HEAD.
        if response.body().is_end_stream() || self.method == Method::HEAD {
            self.end = End::Complete;
        }
        response.map(|body| body.inspect(move |body, frame| self.sent(body, frame)))
    }

    fn fail(mut self) {
        self.end = End::Failed;
    }
}
