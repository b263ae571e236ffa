//! The settings as an operator gives them, one by one.

use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::invalid;
use crate::error::Result;

/// The settings that are not read yet.
pub(super) struct Given(Map<String, Value>);

impl Given {
    /// Those in `value`, or those of its one HTTP handler if it is a storage document.
    pub(super) fn new(mut value: Value) -> Result<Self> {
        if let Some(data) = value.get_mut("data") {
            value = data.take();
        }
        if let Some(Value::Object(handlers)) = value.get_mut("attachments").map(Value::take) {
            value = settings_of_handler(handlers)?;
        }
        match value {
            Value::Object(settings) => Ok(Self(settings)),
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

fn settings_of_handler(handlers: Map<String, Value>) -> Result<Value> {
    let mut of_http = handlers.into_iter().filter_map(|(_, mut handler)| {
        (handler.get("handler")? == "http").then(|| handler.get_mut("settings").map(Value::take))
    });
    match (of_http.next(), of_http.next()) {
        (Some(Some(settings)), None) => Ok(settings),
        (Some(None), None) => Err(invalid("the HTTP handler in `attachments` has no `settings`")),
        (None, _) => Err(invalid("no entry of `attachments` has `\"handler\": \"http\"`")),
        (Some(_), Some(_)) => Err(invalid(
            "several entries of `attachments` have `\"handler\": \"http\"`; give the `settings` of one of them",
        )),
    }
}
