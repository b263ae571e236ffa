//! The settings as they are written: of the types that they have to be of, and no more is known of them.

use http::Method;
use serde_json::Value;

use super::{
    element::Element,
    given::Given,
    invalid,
    plan::Plan,
    raw::{check_raw, segments},
};
use crate::error::Result;

/// All that KAZOO's HTTP handler reads.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) url: String,
    /// PUT or POST.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "a server takes both"))]
    pub(crate) verb: Method,
    pub(crate) send_multipart: bool,
    pub(crate) base64_encode_data: bool,
    pub(crate) field_list: Option<Vec<Element>>,
    pub(crate) field_separator: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) folders: Folders,
}

/// What stands in front of a name.
#[derive(Clone, Default)]
pub(crate) struct Folders {
    pub(crate) base: Option<String>,
    pub(crate) folder: Option<String>,
    /// In place of both.
    pub(crate) path: Option<String>,
}

impl Written {
    #[cfg(feature = "client")]
    pub(crate) fn from_json(json: &str) -> Result<Self> {
        Self::with_plan(json).map(|(written, _)| written)
    }

    /// With what is to be said of the document that they are in.
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
        let written = Self {
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
        Ok((written, plan))
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
