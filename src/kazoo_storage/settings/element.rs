//! The entries of `field_list`.

use serde::Deserialize;
use serde_json::Value;

use super::raw::check_raw;
use crate::error::Result;

/// An entry of `field_list`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Element {
    /// The same as `const`.
    Text(String),
    Named(Named),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Named {
    /// What KAZOO knows of the file: `account_id`, `id` (the document's), `attachment` or `db`; nothing for another.
    Arg(String),
    /// As it is.
    Const(String),
    /// A field of the document, if it has it; a list leads to one of an object in it.
    Field(Value),
    /// Several, without a separator between them.
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
