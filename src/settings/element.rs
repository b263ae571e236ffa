//! The entries of `field_list`.

use serde::Deserialize;
use serde_json::Value;

use super::verbatim::check_raw;
use crate::error::Result;

/// An entry of `field_list`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Element {
    /// The same as `const`.
    Text(String),
    /// An object with one member, whose name says what the value means.
    Named(Named),
}

/// An entry of `field_list` that is an object with one member.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Named {
    /// A value that KAZOO knows for the file: `account_id`, `id` (of the document), `attachment` or `db`. Any other name adds
    /// nothing.
    Arg(String),
    /// Text that KAZOO adds unchanged.
    Const(String),
    /// A field of the document, or a list of field names that leads to a nested one. A missing field adds nothing.
    Field(Value),
    /// Several entries, joined without a separator.
    Group(Vec<Element>),
}

impl Element {
    /// Refuses constants that no URL can hold: KAZOO sends them as they are.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Element::Text(text) | Element::Named(Named::Const(text)) => check_raw("field_list", text),
            Element::Named(Named::Group(list)) => list.iter().try_for_each(Self::check),
            Element::Named(Named::Arg(_) | Named::Field(_)) => Ok(()),
        }
    }

    /// Returns `true` if this element adds to every name, whichever fields the document has. The name ends at the first
    /// of `ends`.
    pub(super) fn is_certain(&self, ends: &[char]) -> bool {
        match self {
            Element::Text(text) | Element::Named(Named::Const(text)) => !until(text, ends).is_empty(),
            Element::Named(Named::Arg(name)) => matches!(&**name, "account_id" | "id" | "attachment" | "db"),
            Element::Named(Named::Field(_)) => false,
            Element::Named(Named::Group(list)) => {
                let is_end = |element: &Element| match element {
                    Element::Text(text) | Element::Named(Named::Const(text)) => text.contains(ends),
                    Element::Named(_) => false,
                };
                let certain = list.iter().position(|element| element.is_certain(ends));
                let end = list.iter().position(is_end).unwrap_or(list.len());
                certain.is_some_and(|certain| certain <= end)
            }
        }
    }
}

/// Returns the part of `text` before the first of `ends`.
pub(super) fn until<'a>(text: &'a str, ends: &[char]) -> &'a str {
    text.split(ends).next().unwrap_or_default()
}
