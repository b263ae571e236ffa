//! [`FieldListEntry`]: an entry of `field_list`, from which KAZOO makes the names of files.

use serde::Deserialize;
use serde_json::Value;

use super::literal::check_literal;
use crate::error::Result;

/// An entry of `field_list`.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Json")]
pub enum FieldListEntry {
    /// A value that KAZOO knows for the file: `account_id`, `id` (of the document), `attachment` or `db`. Any other
    /// name adds nothing.
    Arg(String),
    /// Text that KAZOO adds unchanged.
    Const(String),
    /// A field of the document, or a list of field names that leads to a nested one. A missing field adds nothing.
    Field(Value),
    /// Several entries, joined without a separator.
    Group(Vec<FieldListEntry>),
}

impl FieldListEntry {
    /// Returns the entries that KAZOO uses without a `field_list`: account, owner if there is one, document,
    /// attachment.
    #[must_use]
    pub fn default_list() -> Vec<Self> {
        let arg = |name: &str| Self::Arg(name.to_owned());
        let owner = Self::Field("owner_id".into());
        vec![arg("account_id"), owner, arg("id"), arg("attachment")]
    }

    /// Rejects constants that no URL can contain, because KAZOO does not escape them.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Const(text) => check_literal("field_list", text),
            Self::Group(list) => list.iter().try_for_each(Self::check),
            Self::Arg(_) | Self::Field(_) => Ok(()),
        }
    }

    /// Returns `true` if this entry adds to every name, whichever fields the document has. The name ends at the first
    /// character of `ends`.
    pub(super) fn is_certain(&self, ends: &[char]) -> bool {
        match self {
            Self::Const(text) => !until(text, ends).is_empty(),
            Self::Arg(name) => matches!(&**name, "account_id" | "id" | "attachment" | "db"),
            Self::Field(_) => false,
            Self::Group(list) => {
                let is_end = |entry: &Self| matches!(entry, Self::Const(text) if text.contains(ends));
                let certain = list.iter().position(|entry| entry.is_certain(ends));
                let end = list.iter().position(is_end).unwrap_or(list.len());
                certain.is_some_and(|certain| certain <= end)
            }
        }
    }
}

/// Returns the part of `text` before the first character of `ends`.
pub(super) fn until<'a>(text: &'a str, ends: &[char]) -> &'a str {
    text.split(ends).next().unwrap_or_default()
}

/// An entry as written: a text is a constant, and an object has one member.
#[derive(Deserialize)]
#[serde(untagged)]
enum Json {
    Text(String),
    Object(Object),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Object {
    Arg(String),
    Const(String),
    Field(Value),
    Group(Vec<FieldListEntry>),
}

impl From<Json> for FieldListEntry {
    fn from(json: Json) -> Self {
        match json {
            Json::Text(text) | Json::Object(Object::Const(text)) => Self::Const(text),
            Json::Object(Object::Arg(name)) => Self::Arg(name),
            Json::Object(Object::Field(field)) => Self::Field(field),
            Json::Object(Object::Group(list)) => Self::Group(list),
        }
    }
}
