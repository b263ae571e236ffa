//! The settings as an operator gives them, one by one.

use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{invalid, plan::Plan};
use crate::error::Result;

/// The settings that are not read yet.
pub(super) struct Given(Map<String, Value>);

impl Given {
    /// Those in `value`, or those of its one HTTP handler if it is a storage document, with what is to be said of that.
    pub(super) fn new(mut value: Value) -> Result<(Self, Plan)> {
        let data = value.get_mut("data").map(Value::take);
        let is_wrapped = data.is_some();
        let value = data.unwrap_or(value);
        let Value::Object(mut document) = value else {
            return Err(invalid("no storage settings: they are a JSON object"));
        };
        let handlers = document.get_mut("attachments").and_then(Value::as_object_mut);
        let Some(handlers) = handlers else {
            if is_wrapped || document.contains_key("plan") {
                return Err(invalid(
                    "the storage document has no `attachments`, where the handler with the settings is",
                ));
            }
            return Ok((Self(document), Plan::default()));
        };
        let (used, settings) = settings_of_handler(handlers)?;
        let mut plan = Plan::read(&document, &used);
        if !is_wrapped {
            plan.warn(
                "the storage document is as KAZOO keeps it, and not as its API takes it: for a PUT to `/v2/accounts/{ID}/storage` it is \
                 `{\"data\": {…}}`",
            );
        }
        match settings {
            Value::Object(settings) => Ok((Self(settings), plan)),
            _ => Err(invalid("no storage settings: they are a JSON object")),
        }
    }

    /// The setting of that name, if there is one; `expected` says what it has to be.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &str, expected: &str) -> Result<Option<T>> {
        let Some(value) = self.0.remove(name) else {
            return Ok(None);
        };
        // Not serde's own text, which quotes what stands there.
        Option::deserialize(value).map_err(|_| invalid(format!("`{name}` is not {expected}")))
    }

    pub(super) fn required<T: DeserializeOwned>(&mut self, name: &str, expected: &str) -> Result<T> {
        let value = self.take(name, expected)?;
        value.ok_or_else(|| invalid(format!("no storage settings: `{name}` is missing, which is {expected}")))
    }

    pub(super) fn nothing_else(self) -> Result<()> {
        match self.0.keys().next() {
            Some(name) => Err(invalid(format!("KAZOO has no setting `{name}` for its HTTP storage"))),
            None => Ok(()),
        }
    }
}

/// The name of the one HTTP handler, and its settings.
fn settings_of_handler(handlers: &mut Map<String, Value>) -> Result<(String, Value)> {
    let is_http = |handler: &Value| handler.get("handler").is_some_and(|kind| kind == "http");
    let mut of_http = handlers.iter_mut().filter(|(_, handler)| is_http(handler));
    match (of_http.next(), of_http.next()) {
        (Some((name, handler)), None) => match handler.get_mut("settings") {
            Some(settings) => Ok((name.clone(), settings.take())),
            None => Err(invalid("the HTTP handler in `attachments` has no `settings`")),
        },
        (None, _) => Err(invalid("no entry of `attachments` has `\"handler\": \"http\"`")),
        (Some(_), Some(_)) => Err(invalid(
            "several entries of `attachments` have `\"handler\": \"http\"`; give the `settings` of one of them",
        )),
    }
}
