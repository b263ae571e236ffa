//! What KAZOO appends to the URL of its settings: the name of a file, by the settings and its document.

use std::borrow::Cow;

use super::{
    attachment::Attachment,
    dialect::{Dialect, FetchTarget},
    escape::part,
};
use crate::kazoo_storage::{Element, Folders, Named, Written};

/// The name of `attachment` as `settings` make it.
pub(super) fn name(settings: &Written, dialect: &Dialect, attachment: &Attachment) -> String {
    let name = match (&settings.file, &settings.field_list) {
        (Some(file), _) => file.clone(),
        (None, Some(list)) => joined(list, settings.field_separator.as_deref(), attachment),
        (None, None) => joined(&default_list(), settings.field_separator.as_deref(), attachment),
    };
    match folder(&settings.folders, dialect) {
        Some(folder) => format!("{folder}/{name}"),
        None => name,
    }
}

/// Account, owner if the document has one, document, attachment.
fn default_list() -> [Element; 4] {
    let arg = |name: &str| Element::Named(Named::Arg(name.to_owned()));
    let owner = Element::Named(Named::Field("owner_id".into()));
    [arg("account_id"), owner, arg("id"), arg("attachment")]
}

fn joined(list: &[Element], separator: Option<&str>, attachment: &Attachment) -> String {
    let parts: Vec<String> = list.iter().filter_map(|element| text(element, attachment)).collect();
    parts.join(separator.unwrap_or("/"))
}

/// What stands for `element`; nothing for what KAZOO does not have, which is left out with its separator.
fn text(element: &Element, attachment: &Attachment) -> Option<String> {
    match element {
        Element::Text(text) | Element::Named(Named::Const(text)) => Some(text.clone()),
        Element::Named(Named::Arg(name)) => match &**name {
            "account_id" => Some(part(&attachment.account)),
            "id" => attachment.document.id().map(part),
            "attachment" => Some(part(&attachment.name)),
            "db" => Some(part(&attachment.database())),
            _ => None,
        },
        Element::Named(Named::Field(field)) => {
            let path: Vec<&str> = match field.as_array() {
                Some(path) => path.iter().filter_map(|name| name.as_str()).collect(),
                None => field.as_str().into_iter().collect(),
            };
            if path == ["pvt_account_id"] {
                return Some(part(&attachment.account));
            }
            attachment.document.field(&path).map(|value| part(&value))
        }
        Element::Named(Named::Group(list)) => {
            Some(list.iter().filter_map(|element| text(element, attachment)).collect())
        }
    }
}

/// The folders in front of a name, as they are written: KAZOO escapes nothing in them.
fn folder<'a>(folders: &'a Folders, dialect: &Dialect) -> Option<Cow<'a, str>> {
    let folder: Cow<'a, str> = match (&folders.path, &folders.base, &folders.folder) {
        (Some(path), _, _) => path.into(),
        (None, Some(base), Some(folder)) if !folder.starts_with('/') => {
            format!("{}/{folder}", base.trim_end_matches('/')).into()
        }
        (None, _, Some(folder)) => folder.into(),
        (None, Some(base), None) => base.into(),
        (None, None, None) => return None,
    };
    // Before they fetched by name, releases left the slash at its end where it was.
    let folder = match folder {
        Cow::Borrowed(folder) if dialect.fetch != FetchTarget::Stored => folder.trim_end_matches('/').into(),
        folder => folder,
    };
    (!folder.is_empty()).then_some(folder)
}
