//! [`RawSettings`]: the settings as written.

use http::Method;
use serde_json::Value;

use super::{
    document::SettingsObject,
    field_list::FieldListEntry,
    invalid,
    literal::{check_literal, segments},
    plan::Plan,
};
use crate::error::Result;

/// Every setting that KAZOO's HTTP handler reads, as written, for programs that act as KAZOO.
///
/// [`KazooSettings`](super::KazooSettings) reads the same JSON to configure the service.
///
/// ```
/// use kazoo_storage::settings::RawSettings;
///
/// let settings = RawSettings::from_json(r#"{"url":"http://storage.example.com/some_prefix","verb":"put"}"#)?;
/// assert_eq!(settings.verb, http::Method::PUT);
/// assert!(settings.field_list.is_none());
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
///
/// It does not implement `Debug`, because the URL may contain a password.
#[allow(missing_debug_implementations)]
#[derive(Clone)]
pub struct RawSettings {
    /// The setting `url`, unchanged, credentials included.
    pub url: String,
    /// PUT or POST.
    pub verb: Method,
    /// `true` if KAZOO sends the document's JSON with the media.
    pub send_multipart: bool,
    /// `true` if KAZOO encodes the media in base64.
    pub base64_encode_data: bool,
    /// The entries that make up a file's name. `None` stands for account, document and attachment.
    pub field_list: Option<Vec<FieldListEntry>>,
    /// The separator between the entries. `None` stands for a slash.
    pub field_separator: Option<String>,
    /// The same name for every file, in place of `field_list`.
    pub file: Option<String>,
    /// The folders in front of a file's name.
    pub folders: Folders,
}

/// The folders that KAZOO puts in front of a file's name.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// The setting `folder_base_path`.
    pub base: Option<String>,
    /// The setting `folder_path`, below `base` unless it begins with a slash.
    pub folder: Option<String>,
    /// The setting `path`, which replaces the other two.
    pub path: Option<String>,
}

impl RawSettings {
    /// Reads the settings from the `settings` object of a storage document, or from the whole document.
    ///
    /// The error says which setting is wrong and how to correct it.
    pub fn from_json(json: &str) -> Result<Self> {
        Self::with_plan(json).map(|(settings, _)| settings)
    }

    /// Reads the settings, and the plan of the document that they are in.
    pub(super) fn with_plan(json: &str) -> Result<(Self, Plan)> {
        let value = serde_json::from_str(json).map_err(|error| {
            // serde's message may quote the text.
            let (line, column) = (error.line(), error.column());
            invalid(format!(
                "the storage settings are invalid JSON at line {line}, column {column}"
            ))
        })?;
        let (mut object, plan) = SettingsObject::find(value)?;
        let url = object.required("url", "a text")?;
        let verb: String = object.required("verb", "`put` or `post`")?;
        let verb = match &*verb {
            "put" | "PUT" => Method::PUT,
            "post" | "POST" => Method::POST,
            _ => {
                return Err(invalid(
                    "`verb` is neither `put` nor `post`, in lower or upper case: KAZOO crashes on any other",
                ));
            }
        };
        let settings = Self {
            url,
            verb,
            send_multipart: object.take("send_multipart", "true or false")?.unwrap_or(false),
            base64_encode_data: object.take("base64_encode_data", "true or false")?.unwrap_or(false),
            field_list: object.take(
                "field_list",
                "a list of texts and of objects with one of `arg`, `field`, `const` and `group`",
            )?,
            field_separator: object.take("field_separator", "a text")?,
            file: object.take("file", "a text")?,
            folders: Folders {
                base: object.take("folder_base_path", "a text")?,
                folder: object.take("folder_path", "a text")?,
                path: object.take("path", "a text")?,
            },
        };
        let _ignored: Option<Value> = object.take("document_url_field", "anything")?;
        object.finish()?;
        Ok((settings, plan))
    }
}

impl Folders {
    /// Returns the segments in front of a name that ends at one of `ends`.
    pub(super) fn segments(&self, ends: &[char]) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for (name, text) in [
            ("folder_base_path", &self.base),
            ("folder_path", &self.folder),
            ("path", &self.path),
        ] {
            let Some(text) = text else {
                continue;
            };
            check_literal(name, text)?;
            if text.contains(ends) {
                return Err(invalid(format!(
                    "`{name}` contains a character that ends the name of a file, so all files would have the same name; remove it"
                )));
            }
            // `path` replaces both folders, and an absolute `folder_path` replaces the base.
            if name == "path" || text.starts_with('/') {
                all.clear();
            }
            all.extend(segments(name, text)?);
        }
        Ok(all)
    }
}
