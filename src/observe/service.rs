use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;

use super::{
    End, Observe, Started,
    body::Observed,
    counted::{BytesIn, Counted},
    event::Record,
    request_id::RequestId,
};
use crate::{
    body::Body,
    error::BoxError,
    exchange::{Begun, Exchange, Finish},
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
            request_id: RequestId::of(request.headers()),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            probe: Probe::is_named_by(request.uri()),
            started: Instant::now(),
            status: None,
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
        let request = request.map(|body| Counted::over(Body::new(body), bytes_in));
        Begun::Request(request, Some(record))
    }
}

impl Finish for Record {
    fn finish(mut self, response: Response<Body>) -> Response<Body> {
        self.status = Some(response.status());
        self.outcome = response.extensions().get::<Outcome>().cloned();
        response.map(|body| Body::new(Observed::new(body, self)))
    }

    fn fail(mut self) {
        self.end = End::Failed;
    }
}
