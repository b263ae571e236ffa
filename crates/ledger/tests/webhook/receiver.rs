//! A receiver of webhooks on a port of its own, which answers as the test wants.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    response::Response,
};
use http::{HeaderMap, StatusCode};
use kazoo_storage_ledger::delivery::{self, Webhook};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A request that arrived.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) arrived: Instant,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Delivery {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().unwrap()
    }

    /// The key of the file and its length.
    pub(crate) fn file(&self) -> (String, u64) {
        let data = &self.json()["data"];
        (data["key"].as_str().unwrap().to_owned(), data["size"].as_u64().unwrap())
    }
}

type Answers = dyn Fn(&Delivery) -> Response + Send + Sync;

pub(crate) struct Receiver {
    pub(crate) url: String,
    deliveries: mpsc::UnboundedReceiver<Delivery>,
    answers: Arc<Mutex<Arc<Answers>>>,
    /// An answer takes a permit, and gives it back.
    gate: Arc<Semaphore>,
}

impl Receiver {
    /// Starts a receiver that answers 200.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?token=hunter2", listener.local_addr().unwrap());
        let (sender, deliveries) = mpsc::unbounded_channel();
        let answers: Arc<Mutex<Arc<Answers>>> = Arc::new(Mutex::new(Arc::new(|_: &Delivery| status(200))));
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let handler = {
            let (answers, gate) = (Arc::clone(&answers), Arc::clone(&gate));
            move |request: Request| async move {
                let (head, body) = request.into_parts();
                let delivery = Delivery {
                    arrived: Instant::now(),
                    headers: head.headers,
                    body: to_bytes(body, usize::MAX).await.unwrap().to_vec(),
                };
                let answer = Arc::clone(&answers.lock().unwrap());
                let response = answer(&delivery);
                sender.send(delivery).unwrap();
                let _permit = gate.acquire().await.unwrap();
                response
            }
        };
        let service = Router::new().fallback(handler);
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self {
            url,
            deliveries,
            answers,
            gate,
        }
    }

    pub(crate) fn webhook(&self) -> delivery::Receiver {
        Webhook::new(&self.url, SECRET).unwrap().into()
    }

    /// From now on, answers what `answer` returns.
    pub(crate) fn answers(&self, answer: impl Fn(&Delivery) -> Response + Send + Sync + 'static) {
        *self.answers.lock().unwrap() = Arc::new(answer);
    }

    /// Keeps back all answers until [`resume`](Self::resume).
    pub(crate) fn hang(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn resume(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }

    /// Waits for the next delivery.
    pub(crate) async fn next(&mut self) -> Delivery {
        self.deliveries.recv().await.unwrap()
    }

    /// Returns `true` if nothing else has arrived.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.deliveries.try_recv().is_err()
    }
}

pub(crate) fn status(status: u16) -> Response {
    let mut response = Response::new(Body::from("answer"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
