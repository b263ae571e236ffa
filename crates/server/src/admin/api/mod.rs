//! [`Api`]: the operator's API below `/v1/`.
//!
//! [`routes`] lists the routes, and `openapi.json` describes them to clients. A request reaches its handler only with the
//! operator's token, and not from a website in the operator's browser ([`guard`]).

mod asked;
mod audit;
mod changes;
mod contents;
mod cursor;
mod erasures;
mod events;
mod export;
mod files;
mod guard;
mod holds;
mod json;
mod parameters;
mod receivers;
mod retention;
mod routes;
mod storage;
mod trail;
mod usage;
mod verify;
mod work;

use std::sync::{Arc, OnceLock};

use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use kazoo_storage::{Body, Error, ErrorKind};
use kazoo_storage_ledger::Ledger;

use self::{
    asked::{Answer, Asked},
    changes::Changes,
    guard::Guard,
    parameters::Parameters,
    retention::Rules,
    routes::{Matched, OPENAPI, Operation},
};
pub(crate) use self::{
    audit::{entry as audit_json, hex},
    storage::Storage,
};
use super::{connections::Call, token::Token};

/// The operator's API.
pub(crate) struct Api {
    guard: Guard,
    /// The server has a file of `--deliveries`.
    delivers: bool,
    storage: OnceLock<Storage>,
    changes: Changes,
}

impl Api {
    pub(crate) fn new(token: Option<Arc<Token>>, hosts: Vec<String>, delivers: bool) -> Self {
        Self {
            guard: Guard { token, hosts },
            delivers,
            storage: OnceLock::new(),
            changes: Changes::default(),
        }
    }

    /// Returns the secret of the operator.
    pub(crate) fn token(&self) -> Option<&Arc<Token>> {
        self.guard.token.as_ref()
    }

    /// Sets the files of the server, once they are open.
    pub(crate) fn opened(&self, storage: Storage) {
        let _ = self.storage.set(storage);
    }

    /// Begins no more changes, and waits for the others.
    pub(crate) async fn end(&self) {
        self.changes.end().await;
    }

    /// Returns `true` if the API has this path, or could have it.
    pub(crate) fn serves(path: &str) -> bool {
        path == "/v1" || path.starts_with("/v1/")
    }

    pub(super) async fn answer(&self, request: Request<Incoming>, call: &Call) -> Response<Body> {
        if let Err(refusal) = self.guard.check(&request, call.local) {
            return *refusal;
        }
        if !call.admit() {
            let message = "the admin address has too many calls in progress; try again when one of them has finished";
            return Error::new(ErrorKind::Unavailable, message).to_response();
        }
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let (operation, captured) = match routes::find(&head.method, path) {
            Matched::Route(operation, captured) => (operation, captured),
            Matched::OtherMethods(methods) => return other_methods(&head.method, path, &methods),
            Matched::Nothing => {
                let message = format!("the API has no path {path}; GET /v1/openapi.json lists the paths");
                return Error::new(ErrorKind::NotFound, message).to_response();
            }
        };
        let parameters = match Parameters::new(captured, head.uri.query()) {
            Ok(parameters) => parameters,
            Err(error) => return error.to_response(),
        };
        let asked = Asked {
            parameters,
            headers: head.headers,
            body,
            call,
        };
        let answer = self.run(operation, asked).await;
        answer.unwrap_or_else(|error| error.to_response())
    }

    async fn run(&self, operation: Operation, asked: Asked<'_>) -> Answer {
        match operation {
            Operation::Describe => {
                asked.parameters.end()?;
                Ok(json::response(OPENAPI))
            }
            Operation::ListEvents => events::list(self.ledger()?, asked).await,
            Operation::ShowEvent => events::show(self.ledger()?, asked).await,
            Operation::RetryEvent => events::retry(self.ledger()?, asked).await,
            Operation::DiscardEvent => events::discard(self.ledger()?, asked).await,
            Operation::RetryDead => events::retry_dead(self.ledger()?, asked).await,
            Operation::DiscardDead => events::discard_dead(self.ledger()?, asked).await,
            Operation::Replay => events::replay(self.ledger()?, asked).await,
            Operation::ListReceivers => receivers::list(self.ledger()?, asked).await,
            Operation::ShowReceiver => receivers::show(self.ledger()?, asked).await,
            Operation::RemoveReceiver => receivers::remove(self.ledger()?, &self.changes, self.delivers, asked).await,
            Operation::ListFiles => files::list(self.ledger()?, asked).await,
            Operation::ShowFile => files::show(self.storage()?, asked).await,
            Operation::FetchFile => files::fetch(self.storage()?, asked).await,
            Operation::DeleteFile => files::delete(self.storage()?, &self.changes, asked).await,
            Operation::VerifyFiles => verify::files(self.storage()?, asked).await,
            Operation::ExportFiles => export::list(self.ledger()?, asked).await,
            Operation::ExportContents => contents::send(self.storage()?, asked).await,
            Operation::Usage => usage::list(self.ledger()?, asked).await,
            Operation::ListAudit => audit::list(self.ledger()?, asked).await,
            Operation::VerifyAudit => audit::verify(self.ledger()?, asked).await,
            Operation::ListHolds => holds::list(self.ledger()?, asked).await,
            Operation::AddHold => holds::add(self.ledger()?, &self.changes, asked).await,
            Operation::ShowHold => holds::show(self.ledger()?, asked).await,
            Operation::RemoveHold => holds::remove(self.ledger()?, &self.changes, asked).await,
            Operation::Erase => erasures::run(self.storage()?, &self.changes, asked).await,
            Operation::PlanRetention => retention::plan(self.ledger()?, Rules::InForce, asked).await,
            Operation::PreviewRetention => retention::plan(self.ledger()?, Rules::Sent, asked).await,
            Operation::ListDue => retention::due(self.ledger()?, Rules::InForce, asked).await,
            Operation::PreviewDue => retention::due(self.ledger()?, Rules::Sent, asked).await,
            Operation::ResumeRetention => retention::resume(self.ledger()?, &self.changes, asked).await,
            Operation::ListRequests => retention::requests(self.ledger()?, asked).await,
            Operation::CancelRequest => retention::cancel(self.ledger()?, &self.changes, asked).await,
        }
    }

    fn storage(&self) -> Result<&Storage, Error> {
        let starting = || Error::new(ErrorKind::Unavailable, "the server is starting; try again in a moment");
        self.storage.get().ok_or_else(starting)
    }

    fn ledger(&self) -> Result<&Ledger, Error> {
        self.storage()?.ledger()
    }
}

fn other_methods(method: &Method, path: &str, allowed: &[Method]) -> Response<Body> {
    let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let message = format!("{path} does not support {method}; use {allowed}");
    let mut response = Error::new(ErrorKind::MethodNotAllowed, message).to_response();
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}
