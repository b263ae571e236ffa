//! [`Api`]: the operator's API below `/v1/`.
//!
//! [`routes`] lists the routes, and `openapi.json` describes them to clients. A request reaches its handler only with the
//! operator's token, and not from a website in the operator's browser ([`guard`]).

mod events;
mod guard;
mod json;
mod parameters;
mod receivers;
mod routes;
mod work;

use std::sync::{Arc, OnceLock};

use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use kazoo_storage::{Body, Error, ErrorKind};
use kazoo_storage_ledger::Ledger;

use self::{
    parameters::{Parameters, body},
    routes::{Matched, Operation},
};
use super::{connections::Call, token::Token};

/// The description of the API.
const OPENAPI: &str = include_str!("../openapi.json");

/// The operator's API.
pub(crate) struct Api {
    /// The secret of the operator. Without one, nobody has access.
    pub(crate) token: Option<Arc<Token>>,
    /// Names of this server beside its address.
    pub(crate) hosts: Vec<String>,
    /// The server has a file of `--deliveries`.
    pub(crate) delivers: bool,
    ledger: OnceLock<Option<Ledger>>,
}

/// A request of the operator.
struct Asked<'a> {
    parameters: Parameters<'a>,
    body: Incoming,
    call: &'a Call,
}

type Answer = Result<Response<Body>, Error>;

impl Api {
    pub(crate) fn new(token: Option<Arc<Token>>, hosts: Vec<String>, delivers: bool) -> Self {
        Self {
            token,
            hosts,
            delivers,
            ledger: OnceLock::new(),
        }
    }

    /// Sets the ledger of the server, once it is open.
    pub(crate) fn opened(&self, ledger: Option<Ledger>) {
        let _ = self.ledger.set(ledger);
    }

    /// Returns `true` if the API has this path, or could have it.
    pub(super) fn serves(path: &str) -> bool {
        path == "/v1" || path.starts_with("/v1/")
    }

    pub(super) async fn answer(&self, request: Request<Incoming>, call: &Call) -> Response<Body> {
        if let Err(refusal) = guard::check(self, &request, call.local) {
            return *refusal;
        }
        if !call.admit() {
            let message = "the admin address has too many calls at once; try again when one of them has ended";
            return Error::new(ErrorKind::Unavailable, message).to_response();
        }
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let (operation, captured) = match routes::find(&head.method, path) {
            Matched::Route(operation, captured) => (operation, captured),
            Matched::OtherMethods(methods) => return other_methods(&head.method, path, &methods),
            Matched::Nothing => {
                let message = format!("the API has no {path}; GET /v1/openapi.json describes it");
                return Error::new(ErrorKind::NotFound, message).to_response();
            }
        };
        let parameters = Parameters::new(captured, head.uri.query());
        let asked = Asked { parameters, body, call };
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
            Operation::RemoveReceiver => receivers::remove(self.ledger()?, self.delivers, asked).await,
        }
    }

    fn ledger(&self) -> Result<&Ledger, Error> {
        match self.ledger.get() {
            Some(Some(ledger)) => Ok(ledger),
            Some(None) => {
                let message = "this server has no ledger, so it keeps no events; start it with --ledger";
                Err(Error::new(ErrorKind::Conflict, message))
            }
            None => Err(Error::new(
                ErrorKind::Unavailable,
                "the server is starting; try again in a moment",
            )),
        }
    }
}

fn other_methods(method: &Method, path: &str, allowed: &[Method]) -> Response<Body> {
    let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let message = format!("{path} does not answer {method}, but {allowed}");
    let mut response = Error::new(ErrorKind::MethodNotAllowed, message).to_response();
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}
