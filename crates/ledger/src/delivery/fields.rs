//! [`Fields`]: an object of a configuration.

use std::{collections::BTreeMap, fmt, fmt::Display, fs, time::Duration};

use kazoo_storage::{Error, ErrorKind, Result};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// The fields of an object, each taken once. Errors name the field, and contain no value.
pub(super) struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    /// Reads an object that has only fields of the lists `known`.
    pub(super) fn read(json: &RawValue, known: &[&[&str]]) -> Result<Self> {
        if !json.get().starts_with('{') {
            return Err(invalid("it must be an object: {…}"));
        }
        let fields: Self = serde_json::from_str(json.get()).map_err(|error| {
            let message = error.to_string();
            // The position is that in the object.
            invalid(message.split(" at line ").next().unwrap_or_default())
        })?;
        let mut names = fields.0.keys();
        if let Some(unknown) = names.find(|name| !known.iter().any(|known| known.contains(&name.as_str()))) {
            let known: Vec<String> = known.concat().iter().map(|name| format!("`{name}`")).collect();
            let known = known.join(", ");
            return Err(invalid(format!("unknown field `{unknown}`, expected one of {known}")));
        }
        Ok(fields)
    }

    /// Takes the objects in a list.
    pub(super) fn objects(&mut self, name: &str) -> Result<Option<Vec<Box<RawValue>>>> {
        let parse = |json: Box<RawValue>| {
            serde_json::from_str(json.get()).map_err(|_| in_field(name, "must be a list of objects"))
        };
        self.0.remove(name).map(parse).transpose()
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.value(name, "must be a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn bool(&mut self, name: &str) -> Result<Option<bool>> {
        self.value(name, "must be `true` or `false`", Value::as_bool)
    }

    /// Takes a list of at least one string.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        let texts = self.value(name, "must be a list of strings", |value| {
            let texts = value.as_array()?.iter();
            texts.map(|value| value.as_str().map(str::to_owned)).collect()
        })?;
        let is_empty = |texts: &Vec<String>| texts.is_empty() || texts.iter().any(String::is_empty);
        if texts.as_ref().is_some_and(is_empty) {
            return Err(in_field(name, "is empty, or has an empty string; omit it for all"));
        }
        Ok(texts)
    }

    pub(super) fn duration(&mut self, name: &str) -> Result<Option<Duration>> {
        let fault = "must be a duration such as \"15s\", \"2h\" or \"3days\"";
        self.value(name, fault, |value| {
            let duration = humantime::parse_duration(value.as_str()?).ok();
            duration.filter(|duration| !duration.is_zero())
        })
    }

    /// Takes a number from 1 to `max`.
    pub(super) fn number(&mut self, name: &str, max: usize) -> Result<Option<usize>> {
        self.value(name, format!("must be a number from 1 to {max}"), |value| {
            let number = usize::try_from(value.as_u64()?).ok();
            number.filter(|number| (1..=max).contains(number))
        })
    }

    /// Takes a path, and reads the file.
    pub(super) fn file(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let read =
            |path: String| fs::read(&path).map_err(|error| in_field(name, format!("cannot read {path}: {error}")));
        self.text(name)?.map(read).transpose()
    }

    /// Takes a value that `parse` accepts.
    fn value<T>(&mut self, name: &str, fault: impl Display, parse: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        let Some(json) = self.0.remove(name) else {
            return Ok(None);
        };
        let value: Option<Value> = serde_json::from_str(json.get()).ok();
        let value = value.as_ref().and_then(parse);
        value.map(Some).ok_or_else(|| in_field(name, fault))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if fields.contains_key(&name) {
                        return Err(de::Error::custom(format_args!("duplicate field `{name}`")));
                    }
                    fields.insert(name, value);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

pub(super) fn in_field(name: &str, fault: impl Display) -> Error {
    invalid(format!("`{name}`: {fault}"))
}

/// Names the field in the error of its value.
pub(super) fn of_field<T>(name: &str, result: Result<T>) -> Result<T> {
    result.map_err(|error| in_field(name, error.message()))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidRequest, message.into())
}
