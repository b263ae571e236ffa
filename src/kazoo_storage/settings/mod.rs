//! [`KazooSettings`]: the storage settings that KAZOO has, read to set the service up for them.

mod field;
mod url;

use std::fmt;

use http::request::Parts;
use serde::Deserialize;
use serde_json::Value;

pub use self::field::Fields;
use self::{
    field::{Element, Template},
    url::SettingsUrl,
};
use crate::{
    decode_base64::Base64,
    error::{Error, ErrorKind, Result},
    extract_key::{KeyExtractor, MetadataKey, PathKey, QueryKey},
    key::{BlobKey, Candidates},
};

/// What tells the files of one static target apart, in this order.
const METADATA_FIELDS: [&str; 3] = ["media_id", "call_id", "id"];

/// The `settings` object of an attachment handler, as an operator gives it to KAZOO in the storage document.
///
/// It says what KAZOO will send, so it can set the service up too:
/// [`KazooStorage::from_settings`](crate::KazooStorage::from_settings).
///
/// ```
/// use kazoo_storage::{KazooSettings, KazooStorage, MemoryStore};
///
/// let settings = KazooSettings::from_json(
///     r#"{
///         "url": "http://storage.example.com:8080/some_prefix",
///         "verb": "put",
///         "send_multipart": true,
///         "base64_encode_data": false
///     }"#,
/// )?;
/// assert_eq!(settings.mount(), "/some_prefix");
/// assert_eq!(settings.warnings().count(), 0);
/// let layer = KazooStorage::from_settings(MemoryStore::new(), &settings).mount(settings.mount());
/// # let _ = layer;
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
///
/// | setting | what it does here |
/// | --- | --- |
/// | `url` | its path is the [`mount`](Self::mount); a query that ends with `NAME=` holds the key; a fragment leaves none in the URL |
/// | `verb` | `put` or `post`, in lower or upper case; KAZOO crashes without one |
/// | `send_multipart`, `base64_encode_data` | with both, the media must be base64, and is decoded; otherwise nothing is |
/// | `field_list`, `field_separator` | what the [`fields`](Self::fields) of a key are; with `[]` the key is in the metadata |
/// | `folder_base_path`, `folder_path`, `path` | segments in front of those |
/// | `file`, `document_url_field` | nothing |
///
/// Any other name is an error: KAZOO would ignore it, and whoever wrote it did not mean it to.
#[derive(Clone, Debug)]
pub struct KazooSettings {
    mount: String,
    key: SettingsKey,
    base64: Base64,
    template: Option<Template>,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    url: String,
    verb: Option<String>,
    #[serde(default)]
    send_multipart: bool,
    #[serde(default)]
    base64_encode_data: bool,
    field_list: Option<Vec<Element>>,
    field_separator: Option<String>,
    folder_base_path: Option<String>,
    folder_path: Option<String>,
    path: Option<String>,
    #[serde(rename = "file")]
    _file: Option<String>,
    #[serde(rename = "document_url_field")]
    _document_url_field: Option<Value>,
}

impl KazooSettings {
    /// The settings in this JSON object, or in a storage document with one HTTP handler, as it is PUT to KAZOO.
    ///
    /// [`ErrorKind::InvalidRequest`] for what KAZOO refuses, crashes on or cannot be served by; the message says why and
    /// what to write instead. What merely may fail is among the [`warnings`](Self::warnings).
    pub fn from_json(json: &str) -> Result<Self> {
        let no_settings = |error| invalid(format!("these are no storage settings: {error}"));
        let value = settings_in(serde_json::from_str(json).map_err(no_settings)?)?;
        let document = Document::deserialize(value).map_err(no_settings)?;
        let url = SettingsUrl::parse(&document.url)?;
        let mut warnings = url.warnings();
        match document.verb.as_deref() {
            Some("put" | "PUT" | "post" | "POST") => {}
            Some(other) => {
                return Err(invalid(format!(
                    "`verb` is `{other}`; KAZOO sends by `put` or `post` and crashes on any other"
                )));
            }
            None => return Err(invalid("`verb` is missing; KAZOO crashes without one: write `put`")),
        }
        let folders = [&document.folder_base_path, &document.folder_path, &document.path];
        let folders: Vec<&str> = folders.into_iter().flatten().map(String::as_str).collect();
        for folder in &folders {
            // KAZOO does not escape them.
            if folder
                .bytes()
                .any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'?' | b'#' | b'%'))
            {
                return Err(invalid(format!(
                    "the folder `{folder}` has a character that KAZOO sends as it is and that no URL can hold; use letters, digits, \
                     `-`, `_`, `.` and `/`"
                )));
            }
        }
        let is_static = url.has_fragment() || document.field_list.as_ref().is_some_and(Vec::is_empty);
        let key = if is_static {
            if !document.send_multipart {
                return Err(invalid(
                    "every file would be sent to the same URL, with nothing to tell it from the others: set `send_multipart` to \
                     true, or give `field_list` its fields, and `url` no `#`",
                ));
            }
            SettingsKey::Metadata(MetadataKey::new(METADATA_FIELDS))
        } else if let Some(query) = url.query() {
            SettingsKey::Query(QueryKey::new(query.parameter()?))
        } else {
            SettingsKey::Path(PathKey)
        };
        let separator = document.field_separator.unwrap_or_else(|| "/".to_owned());
        let template = (!is_static)
            .then(|| Template::new(&folders, document.field_list, &separator))
            .transpose()?;
        warnings.extend(template.as_ref().and_then(Template::warning));
        if document.base64_encode_data && !document.send_multipart {
            warnings.push(
                "`base64_encode_data` does nothing without `send_multipart`: KAZOO never encodes a plain body"
                    .to_owned(),
            );
        }
        let base64 = if document.base64_encode_data && document.send_multipart {
            Base64::Declared
        } else {
            Base64::Off
        };
        Ok(Self {
            mount: url.into_path(),
            key,
            base64,
            template,
            warnings,
        })
    }

    /// The path of the URL: what the service is to be mounted under. Without a slash at its end, but for `/` alone.
    #[must_use]
    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// What says which file a request means.
    #[must_use]
    pub fn key(&self) -> &SettingsKey {
        &self.key
    }

    /// How base64 in uploads is told from plain media.
    #[must_use]
    pub fn base64(&self) -> Base64 {
        self.base64
    }

    /// What may fail, each with what to do about it.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.iter().map(String::as_str)
    }

    /// What the segments of `key` are by `field_list`; all unknown if it does not fit, or if the metadata is the key.
    #[must_use]
    pub fn fields(&self, key: &BlobKey) -> Fields {
        let fields = self.template.as_ref().and_then(|template| template.fields(key));
        fields.unwrap_or_default()
    }
}

/// The `settings` of the one HTTP handler in `value`, if it is a storage document.
fn settings_in(mut value: Value) -> Result<Value> {
    if let Some(data) = value.get_mut("data") {
        value = data.take();
    }
    let Some(Value::Object(handlers)) = value.get_mut("attachments").map(Value::take) else {
        return Ok(value);
    };
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

/// What says which file a request means, as the settings have it.
#[derive(Clone)]
#[non_exhaustive]
pub enum SettingsKey {
    /// The path behind the mount.
    Path(PathKey),
    /// A parameter of the query.
    Query(QueryKey),
    /// The metadata: the URL is the same for every file.
    Metadata(MetadataKey),
}

impl SettingsKey {
    fn extractor(&self) -> &dyn KeyExtractor {
        match self {
            Self::Path(key) => key,
            Self::Query(key) => key,
            Self::Metadata(key) => key,
        }
    }
}

impl KeyExtractor for SettingsKey {
    fn key(&self, request: &Parts) -> Result<BlobKey> {
        self.extractor().key(request)
    }

    fn candidates(&self, request: &Parts) -> Result<Candidates> {
        self.extractor().candidates(request)
    }

    fn reads_metadata(&self) -> bool {
        self.extractor().reads_metadata()
    }
}

impl fmt::Debug for SettingsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path(_) => "SettingsKey::Path",
            Self::Query(_) => "SettingsKey::Query",
            Self::Metadata(_) => "SettingsKey::Metadata",
        })
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> String {
        KazooSettings::from_json(json)
            .map(|_| ())
            .unwrap_err()
            .message()
            .to_owned()
    }

    #[test]
    fn a_storage_document_has_the_settings_of_its_one_http_handler() {
        let settings = r#"{"url":"http://h/p","verb":"put"}"#;
        let s3 = r#""S3":{"handler":"s3","settings":{"bucket":"b"}}"#;
        for document in [
            settings.to_owned(),
            format!(r#"{{"attachments":{{"A":{{"handler":"http","name":"x","settings":{settings}}}}}}}"#),
            format!(
                r#"{{"data":{{"attachments":{{{s3},"A":{{"handler":"http","settings":{settings}}}}},"plan":{{}}}}}}"#
            ),
        ] {
            assert_eq!(KazooSettings::from_json(&document).unwrap().mount(), "/p", "{document}");
        }
        let handler = format!(r#"{{"handler":"http","settings":{settings}}}"#);
        for (handlers, says) in [
            (s3.to_owned(), "no entry"),
            (format!(r#""A":{handler},"B":{handler}"#), "several"),
            (r#""A":{"handler":"http"}"#.to_owned(), "no `settings`"),
        ] {
            let message = message(&format!(r#"{{"attachments":{{{handlers}}}}}"#));
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn what_kazoo_does_not_know_is_an_error() {
        for (json, says) in [
            ("", "no storage settings"),
            ("[]", "no storage settings"),
            (r#"{"verb":"put"}"#, "missing field `url`"),
            (r#"{"url":"http://h/p"}"#, "`verb` is missing"),
            (
                r#"{"url":"http://h/p","verb":"put","multipart":true}"#,
                "unknown field `multipart`",
            ),
            (
                r#"{"url":"http://h/p","verb":"put","send_multipart":"true"}"#,
                "boolean",
            ),
            (r#"{"url":"http://h/p","verb":"put","folder_base_path":"a b"}"#, "`a b`"),
        ] {
            assert!(message(json).contains(says), "{json}: {}", message(json));
        }
    }

    #[test]
    fn what_does_nothing_is_warned_of() {
        let raw = KazooSettings::from_json(r#"{"url":"http://h/p","verb":"put","base64_encode_data":true}"#).unwrap();
        assert!(raw.warnings().next().unwrap().contains("does nothing"));
        assert_eq!(raw.base64(), Base64::Off);
    }
}
