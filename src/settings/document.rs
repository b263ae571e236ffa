//! [`SettingsObject`]: the `settings` of the HTTP handler in a storage document.

use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{invalid, plan::Plan};
use crate::error::Result;

/// The settings that have not been taken yet.
pub(super) struct SettingsObject(Map<String, Value>);

impl SettingsObject {
    /// Finds the settings in `value`: the object itself, or the settings of the one HTTP handler of a storage document,
    /// whose plan is returned too.
    pub(super) fn find(mut value: Value) -> Result<(Self, Plan)> {
        let data = value.get_mut("data").map(Value::take);
        let is_wrapped = data.is_some();
        let value = data.unwrap_or(value);
        let Value::Object(mut document) = value else {
            return Err(invalid("not storage settings: expected a JSON object"));
        };
        let handlers = document.get_mut("attachments").and_then(Value::as_object_mut);
        let Some(handlers) = handlers else {
            if is_wrapped || document.contains_key("plan") {
                return Err(invalid(
                    "the storage document has no `attachments`, which contains the handler with the settings",
                ));
            }
            return Ok((Self(document), Plan::default()));
        };
        let (used, settings) = settings_of_handler(handlers)?;
        let mut plan = Plan::read(&document, &used);
        if !is_wrapped {
            plan.warn(
                "the storage document has the form in which KAZOO keeps it, not the form that its API takes: for a PUT to \
                 `/v2/accounts/{ID}/storage` write `{\"data\": {…}}` around it",
            );
        }
        match settings {
            Value::Object(settings) => Ok((Self(settings), plan)),
            _ => Err(invalid("not storage settings: expected a JSON object")),
        }
    }

    /// Removes and returns the setting `name`. `expected` describes its type in the error.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &str, expected: &str) -> Result<Option<T>> {
        let Some(value) = self.0.remove(name) else {
            return Ok(None);
        };
        // serde's message would quote the value.
        Option::deserialize(value).map_err(|_| invalid(format!("`{name}` is not {expected}")))
    }

    pub(super) fn required<T: DeserializeOwned>(&mut self, name: &str, expected: &str) -> Result<T> {
        let value = self.take(name, expected)?;
        value.ok_or_else(|| {
            invalid(format!(
                "`{name}` is missing from the storage settings; it is {expected}"
            ))
        })
    }

    /// Rejects settings that KAZOO does not have.
    pub(super) fn finish(self) -> Result<()> {
        match self.0.keys().next() {
            Some(name) => Err(invalid(format!(
                "KAZOO has no setting `{name}` for its HTTP storage; remove it or correct its name"
            ))),
            None => Ok(()),
        }
    }
}

/// Returns the name of the one HTTP handler, and its settings.
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
            "several entries of `attachments` have `\"handler\": \"http\"`; pass the `settings` object of one of them instead of \
             the whole document",
        )),
    }
}
