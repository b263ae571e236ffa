//! Reads the fields of a JSON object without building a tree.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer as _,
    de::{MapAccess, Visitor},
};
use serde_json::{Number, Value, value::RawValue};

/// Parses the value in `raw` if it is a string or a number.
pub(super) fn scalar(raw: &str) -> Option<Value> {
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str(raw).ok().map(Value::String),
        b'-' | b'0'..=b'9' => serde_json::from_str::<Number>(raw).ok().map(Value::Number),
        _ => None,
    }
}

/// Calls `visit` with the name and the raw value of each field of the object in `json`. A field whose name contains a
/// lone surrogate is skipped.
pub(super) fn each_field<'a>(json: &'a [u8], visit: impl FnMut(&str, &'a str)) {
    struct Fields<F>(F);

    impl<'a, F: FnMut(&str, &'a str)> Visitor<'a> for Fields<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
            // Names are raw too, because an error in one name would hide all later fields.
            while let Some((name, value)) = map.next_entry::<&'a RawValue, &'a RawValue>()? {
                if let Ok(Name(name)) = serde_json::from_str(name.get()) {
                    (self.0)(&name, value.get());
                }
            }
            Ok(())
        }
    }

    // The text was validated as JSON on construction.
    let _ = serde_json::Deserializer::from_slice(json).deserialize_map(Fields(visit));
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
