//! [`Metadata`], the JSON document that KAZOO sends before the media, its contents as types, and [`MediaPart`].
//!
//! [`AttachmentKind::of`](crate::kazoo_id::AttachmentKind::of) tells which document a file has, and
//! [`Metadata::deserialize`] reads it:
//!
//! ```
//! use kazoo_storage::{
//!     BlobKey, Metadata, Result,
//!     kazoo_id::AttachmentKind,
//!     metadata::{Fax, Recording, Voicemail},
//! };
//!
//! fn caller(key: &BlobKey, metadata: &Metadata) -> Result<Option<String>> {
//!     Ok(match AttachmentKind::of(key, Some(metadata)) {
//!         Some(AttachmentKind::Voicemail) => metadata.deserialize::<Voicemail>()?.metadata.caller_id_number,
//!         Some(AttachmentKind::CallRecording) => metadata.deserialize::<Recording>()?.caller_id_number,
//!         Some(AttachmentKind::Fax) => metadata.deserialize::<Fax>()?.from_number,
//!         None => None,
//!     })
//! }
//!
//! let key = BlobKey::from_path("/ACCOUNT/202401-DOCUMENT/received_file_202401-e4da.tiff")?;
//! let metadata = Metadata::from_json(r#"{"from_number":"+13125550100","source_type":"incoming_fax"}"#)?;
//! assert_eq!(caller(&key, &metadata)?.as_deref(), Some("+13125550100"));
//! # Ok::<(), kazoo_storage::Error>(())
//! ```

mod documents;
mod fields;
mod kind;
mod media_part;
mod time;

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use self::fields::{each_field, scalar};

pub use self::{
    documents::{ChannelVars, Fax, FaxResult, Message, Recording, Voicemail},
    media_part::MediaPart,
    time::gregorian_time,
};
pub use crate::encoding::TransferEncoding;
use crate::error::{Error, ErrorKind, Result};

/// Request extension: the public fields of the KAZOO document that a file is attached to, one JSON object.
///
/// It is the first part of a multipart upload (`send_multipart`), and [`SplitMultipart`](crate::SplitMultipart) inserts
/// it. The bytes are kept unchanged; fields are parsed on demand.
///
/// ```
/// use kazoo_storage::Metadata;
///
/// let metadata = Metadata::from_json(r#"{"id":"DOC","metadata":{"call_id":"b3f6"}}"#)?;
/// assert_eq!(metadata.field("id").unwrap(), "DOC");
/// assert_eq!(metadata.field("call_id").unwrap(), "b3f6");
/// assert!(metadata.field("owner_id").is_none());
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Metadata(Bytes);

impl Metadata {
    /// Accepts `json` if it is a single JSON object; any other text is [`ErrorKind::InvalidMetadata`].
    pub fn from_json(json: impl Into<Bytes>) -> Result<Self> {
        let json = json.into();
        let raw: &RawValue = serde_json::from_slice(&json).map_err(|error| {
            Error::new(ErrorKind::InvalidMetadata, format!("the metadata is not JSON: {error}")).with_source(error)
        })?;
        if !raw.get().starts_with('{') {
            return Err(Error::new(
                ErrorKind::InvalidMetadata,
                "the metadata is JSON, but not an object",
            ));
        }
        Ok(Self(json))
    }

    /// Returns the JSON text, unchanged.
    #[must_use]
    pub fn as_json(&self) -> &Bytes {
        &self.0
    }

    /// Reads the document as a `T`: one of the types of [this module](self), or a type of your own.
    ///
    /// Fields that `T` does not name are skipped. If the document does not match, the error is
    /// [`ErrorKind::InvalidMetadata`]. Its message names the field, in at most 8 levels and 100
    /// characters, and contains no value. If `T` has a map, the names in it are chosen by the client.
    ///
    /// ```
    /// use kazoo_storage::{Metadata, metadata::Voicemail};
    ///
    /// let metadata = Metadata::from_json(r#"{"metadata":{"caller_id_name":"Anna","length":"long"}}"#)?;
    /// let error = metadata.deserialize::<Voicemail>().unwrap_err();
    /// assert_eq!(error.to_string(), "the field `metadata.length` of the metadata has an unexpected type or value");
    /// # Ok::<(), kazoo_storage::Error>(())
    /// ```
    pub fn deserialize<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(&self.0).map_err(|error| {
            // The error itself is not the source, because it quotes the value.
            let field = self.field_at(error.line(), error.column());
            let message = match &*field {
                "" => "the metadata does not have the expected fields".to_owned(),
                field => format!("the field `{field}` of the metadata has an unexpected type or value"),
            };
            Error::new(ErrorKind::InvalidMetadata, message)
        })
    }

    /// Returns the fields as a tree, without values that a tree cannot represent: those nested too deeply, and strings
    /// with a lone surrogate (`"\ud800"`).
    ///
    /// A tree of many small values takes 100 times the memory of its text. [`field`](Self::field) parses a single
    /// value.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        each_field(&self.0, |name, value| match serde_json::from_str(value) {
            Ok(value) => drop(map.insert(name.to_owned(), value)),
            // The last field of a name wins, even if it cannot be represented.
            Err(_) => drop(map.remove(name)),
        });
        map
    }

    /// Returns the field `name` of the object or, if it has none, of its nested `metadata` object.
    ///
    /// KAZOO uploads the complete document, but puts only the nested object into the query of a fetch, if there is one.
    /// With this order, the same name finds a value in both.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Value> {
        let ([own], [nested]) = self.raw([name]);
        serde_json::from_str(own.or(nested)?).ok()
    }

    /// Returns the value of `name`, as [`field`](Self::field) finds it, if it is a string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let [text] = self.texts([name]);
        text
    }

    /// Returns the value of each of `names`, as [`text`](Self::text) does, and reads the document once.
    ///
    /// ```
    /// use kazoo_storage::Metadata;
    ///
    /// let metadata = Metadata::from_json(r#"{"id":"D","metadata":{"call_id":"b3f6"}}"#)?;
    /// let [call, owner] = metadata.texts(["call_id", "owner_id"]);
    /// assert_eq!((call.as_deref(), owner), (Some("b3f6"), None));
    /// # Ok::<(), kazoo_storage::Error>(())
    /// ```
    #[must_use]
    pub fn texts<const N: usize>(&self, names: [&str; N]) -> [Option<String>; N] {
        let (own, mut nested) = self.raw(names);
        let mut nested = nested.iter_mut();
        own.map(|own| {
            let nested = nested.next().and_then(Option::take);
            match scalar(own.or(nested)?)? {
                Value::String(text) => Some(text),
                _ => None,
            }
        })
    }

    /// Returns the first of `names` with a string or number: in the nested `metadata` object, or else in this one.
    pub(crate) fn first_scalar(&self, names: &[impl AsRef<str>]) -> Option<String> {
        let mut own = vec![None; names.len()];
        let mut nested = own.clone();
        self.find(names, &mut own, &mut nested);
        let mut values = nested.into_iter().chain(own).flatten();
        values.find_map(|raw| match scalar(raw)? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    }

    /// Returns the path of the innermost field whose value includes the position, such as `metadata.length`, in at most
    /// 8 levels, each of which scans the text again, and 100 characters.
    fn field_at(&self, line: usize, column: usize) -> String {
        let lines = self.0.split_inclusive(|byte| *byte == b'\n');
        let before: usize = lines.take(line.saturating_sub(1)).map(<[u8]>::len).sum();
        let at = self.0.as_ptr().addr() + before + column;
        let mut path = Vec::new();
        let mut object = Some(&self.0[..]);
        while let Some(json) = object.take().filter(|_| path.len() < 8) {
            each_field(json, |name, value| {
                let bytes = value.as_bytes().as_ptr_range();
                if (bytes.start.addr()..=bytes.end.addr()).contains(&at) {
                    path.push(name.to_owned());
                    object = value.starts_with('{').then_some(value.as_bytes());
                }
            });
        }
        path.join(".").chars().take(100).collect()
    }

    /// Returns the raw values of `names` in the object itself and in its nested `metadata` object.
    fn raw<const N: usize>(&self, names: [&str; N]) -> ([Option<&str>; N], [Option<&str>; N]) {
        let mut found = ([None; N], [None; N]);
        self.find(&names, &mut found.0, &mut found.1);
        found
    }

    /// Scans the text without building a tree, which could take a hundred times its memory.
    fn find<'a>(&'a self, names: &[impl AsRef<str>], own: &mut [Option<&'a str>], nested: &mut [Option<&'a str>]) {
        let mut metadata = None;
        let take = |found: &mut [Option<&'a str>], name: &str, value: &'a str| {
            let at = names.iter().position(|wanted| wanted.as_ref() == name);
            // If a name occurs several times, the last value wins, as in a tree.
            if let Some(slot) = at.and_then(|at| found.get_mut(at)) {
                *slot = Some(value);
            }
        };
        each_field(&self.0, |name, value| {
            take(own, name, value);
            if name == "metadata" {
                metadata = Some(value);
            }
        });
        if let Some(metadata) = metadata.filter(|value| value.starts_with('{')) {
            each_field(metadata.as_bytes(), |name, value| take(nested, name, value));
        }
    }
}

/// Shows the length only, because the document contains callers' names and numbers.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metadata({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_an_object_and_keeps_its_bytes() {
        let text = "\r\n {\"b\":1, \"a\":63872533230.50}";
        assert_eq!(&Metadata::from_json(text).unwrap().as_json()[..], text.as_bytes());
        for bad in ["", "[]", "\"{}\"", "{", "{}{}", "{\"a\":}", "null", "\u{feff}{}"] {
            let error = Metadata::from_json(bad).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::InvalidMetadata, "{bad}");
        }
        assert!(Metadata::from_json(&b"{\"a\":\"\xff\"}"[..]).is_err());
    }

    #[test]
    fn the_outer_field_wins_over_the_nested_one() {
        let metadata = Metadata::from_json(r#"{"id":"outer","metadata":{"id":"inner","folder":"new"}}"#).unwrap();
        assert_eq!(metadata.field("id").unwrap(), "outer");
        assert_eq!(metadata.field("folder").unwrap(), "new");
    }

    #[test]
    fn keeps_deep_nesting_without_building_a_tree() {
        let deep = format!("{{\"a\":{}{},\"id\":1}}", "[".repeat(100_000), "]".repeat(100_000));
        let metadata = Metadata::from_json(deep).unwrap();
        assert_eq!(metadata.field("a"), None);
        assert_eq!(metadata.to_map(), Map::from_iter([("id".to_owned(), 1.into())]));
    }

    #[test]
    fn a_lone_surrogate_hides_no_other_field() {
        for json in [
            r#"{"\ud800":1,"id":"x"}"#,
            r#"{"id":"x","\udc00\ud800":1}"#,
            r#"{"a":"\ud800","id":"x"}"#,
            r#"{"a":{"\ud800":1},"id":"x"}"#,
            r#"{"id":"x","a":1,"a":"\ud800"}"#,
        ] {
            let metadata = Metadata::from_json(json).unwrap();
            assert_eq!(metadata.field("id").unwrap(), "x", "{json}");
            assert_eq!(metadata.first_scalar(&["a", "id"]).unwrap(), "x", "{json}");
            assert_eq!(
                metadata.to_map(),
                Map::from_iter([("id".to_owned(), "x".into())]),
                "{json}"
            );
            let nested = Metadata::from_json(format!(r#"{{"\udfff":0,"metadata":{json}}}"#)).unwrap();
            assert_eq!(nested.field("id").unwrap(), "x", "{json}");
        }
    }

    #[test]
    fn finds_the_same_values_as_a_tree() {
        for json in [
            r#"{"id":1,"id":"x","metadata":{"id":"in"}}"#,
            r#"{"\u0069d":"escaped \ud83d\ude00","metadata":7}"#,
            r#"{"metadata":{"id":"a"},"metadata":{"call_id":"b"}}"#,
            r#"{"metadata":{"id":null},"id":-1.5e3}"#,
            r#"{"metadata":[{"id":1}],"other":{"id":2}}"#,
            r#" { "id" : [ {"id":1} ] , "metadata" : { "id" : {} } } "#,
            r#"{"metadata":"{\"id\":1}"}"#,
        ] {
            let metadata = Metadata::from_json(json).unwrap();
            let mut map = metadata.to_map();
            let nested = map
                .get("metadata")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default();
            let scalar = |value: &Value| match value {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            let names = ["call_id", "id"];
            let expected = [&nested, &map]
                .into_iter()
                .find_map(|object| names.iter().find_map(|name| scalar(object.get(*name)?)));
            assert_eq!(metadata.first_scalar(&names), expected, "{json}");
            let expected = map.remove("id").or_else(|| nested.get("id").cloned());
            assert_eq!(metadata.field("id"), expected, "{json}");
        }
    }

    #[test]
    fn an_error_names_the_field_and_not_its_value() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code)]
        struct Strict {
            id: String,
            nested: Option<Inner>,
        }
        #[derive(Debug, Deserialize)]
        #[expect(dead_code)]
        struct Inner {
            n: u8,
            deep: Option<Box<Inner>>,
        }
        for (json, field) in [
            (r#"{"id":7,"nested":{"n":1}}"#, "field `id`"),
            (r#"{"id":{"nested":"Anna"},"n":1}"#, "field `id`"),
            ("{\n \"id\":\n [\"Anna\"]\n}", "field `id`"),
            (r#"{"é":"Anna","id":"x","nested":{"n":"Anna"}}"#, "field `nested.n`"),
            (r#"{"id":"x","nested":{"n":256}}"#, "field `nested.n`"),
            (r#"{"id":"x","nested":{"n":-1.5}}"#, "field `nested.n`"),
            (
                r#"{"id":"x","nested":{"n":1,"deep":{"n":true}}}"#,
                "field `nested.deep.n`",
            ),
            (r#"{"id":"x","nested":{"n":1,"deep":{}}}"#, "field `nested.deep`"),
            (r#"{"id":"x","nested":{"Anna":1}}"#, "field `nested`"),
            (r#"{"id":"x","nested":"Anna"}"#, "field `nested`"),
            (r#"{"nested":{"n":1}}"#, "the metadata does not have"),
            (r#"{"id":"\ud800"}"#, "field `id`"),
        ] {
            let error = Metadata::from_json(json)
                .unwrap()
                .deserialize::<Strict>()
                .expect_err(json);
            assert_eq!(error.kind(), ErrorKind::InvalidMetadata, "{json}");
            assert!(error.to_string().contains(field), "{json}: {error}");
            assert!(!format!("{error:?}").contains("Anna"), "{json}: {error:?}");
        }
    }

    #[test]
    fn debug_keeps_callers_out_of_logs() {
        let json = r#"{"caller_id_name":"Anna","from_name":"Anna","metadata":{"caller_id_name":"Anna"},"id":"ID"}"#;
        let metadata = Metadata::from_json(json).unwrap();
        assert!(!format!("{metadata:?}").contains("Anna"));
        let documents = (
            metadata.deserialize::<Voicemail>().unwrap(),
            metadata.deserialize::<Recording>().unwrap(),
            metadata.deserialize::<Fax>().unwrap(),
        );
        let shown = format!("{documents:?} {:?}", documents.0.metadata);
        assert!(!shown.contains("Anna") && shown.contains("ID"), "{shown}");
    }
}
