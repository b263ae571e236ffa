//! KAZOO's storage settings as they are written, for programs that act as KAZOO.
//!
//! [`KazooSettings`](super::KazooSettings) reads the same JSON to set the service up. [`RawSettings`] keeps every value as
//! KAZOO has it, so that a client can build the requests that KAZOO would send.
//!
//! ```
//! use kazoo_storage::settings::raw::RawSettings;
//!
//! let settings = RawSettings::from_json(r#"{"url":"http://storage.example.com/some_prefix","verb":"put"}"#)?;
//! assert_eq!(settings.verb, http::Method::PUT);
//! assert!(settings.field_list.is_none());
//! # Ok::<(), kazoo_storage::Error>(())
//! ```

use http::Method;
use serde_json::Value;

pub use super::element::{Element, Named};
use super::{
    given::Given,
    invalid,
    plan::Plan,
    verbatim::{check_raw, segments},
};
use crate::error::Result;

/// Every setting that KAZOO's HTTP handler reads.
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
    pub field_list: Option<Vec<Element>>,
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
            // serde's own text may quote what stands there.
            let (line, column) = (error.line(), error.column());
            invalid(format!("no storage settings: no JSON at line {line}, column {column}"))
        })?;
        let (mut given, plan) = Given::new(value)?;
        let url = given.required("url", "a text")?;
        let verb: String = given.required("verb", "`put` or `post`")?;
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
            send_multipart: given.take("send_multipart", "true or false")?.unwrap_or(false),
            base64_encode_data: given.take("base64_encode_data", "true or false")?.unwrap_or(false),
            field_list: given.take(
                "field_list",
                "a list of texts and of objects with one of `arg`, `field`, `const` and `group`",
            )?,
            field_separator: given.take("field_separator", "a text")?,
            file: given.take("file", "a text")?,
            folders: Folders {
                base: given.take("folder_base_path", "a text")?,
                folder: given.take("folder_path", "a text")?,
                path: given.take("path", "a text")?,
            },
        };
        let _ignored: Option<Value> = given.take("document_url_field", "anything")?;
        given.nothing_else()?;
        Ok((settings, plan))
    }
}

impl Folders {
    /// The segments in front of a name that ends where one of `ends` stands.
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
            check_raw(name, text)?;
            if text.contains(ends) {
                return Err(invalid(format!(
                    "`{name}` has a character that ends the name of every file, which would be the same for all"
                )));
            }
            // `path` takes the place of both folders, and an absolute folder that of the one it is in.
            if name == "path" || text.starts_with('/') {
                all.clear();
            }
            all.extend(segments(name, text)?);
        }
        Ok(all)
    }
}
