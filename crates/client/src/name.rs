//! The name of a file, which KAZOO appends to the URL of its settings.

use super::{
    attachment::Attachment,
    dialect::{Dialect, Escaping, FetchTarget},
    escape::part,
};
use kazoo_storage::settings::{FieldListEntry, Folders, RawSettings};

/// Returns the name of `attachment`.
pub(super) fn name(settings: &RawSettings, dialect: &Dialect, attachment: &Attachment) -> String {
    if let Some(file) = &settings.file {
        return file.clone();
    }
    let separator = settings.field_separator.as_deref();
    let name = match &settings.field_list {
        Some(list) => joined(list, separator, dialect.escaping, attachment),
        None => joined(&FieldListEntry::default_list(), separator, dialect.escaping, attachment),
    };
    match folder(&settings.folders, dialect) {
        Some(folder) => format!("{folder}/{name}"),
        None => name,
    }
}

fn joined(list: &[FieldListEntry], separator: Option<&str>, escaping: Escaping, attachment: &Attachment) -> String {
    let parts = list.iter().filter_map(|entry| text(entry, escaping, attachment));
    let parts: Vec<String> = parts.collect();
    parts.join(separator.unwrap_or("/"))
}

/// Returns the text of `entry`, or `None` if KAZOO has no value for it and omits it with its separator.
fn text(entry: &FieldListEntry, escaping: Escaping, attachment: &Attachment) -> Option<String> {
    let part = |text: &str| part(text, escaping);
    match entry {
        FieldListEntry::Const(text) => Some(text.clone()),
        FieldListEntry::Arg(name) => match &**name {
            "account_id" => Some(part(&attachment.account)),
            "id" => attachment.document.id().map(part),
            "attachment" => Some(part(&attachment.name)),
            "db" => Some(part(&attachment.database())),
            _ => None,
        },
        FieldListEntry::Field(field) => {
            let path: Vec<&str> = match field.as_array() {
                Some(path) => path.iter().filter_map(|name| name.as_str()).collect(),
                None => field.as_str().into_iter().collect(),
            };
            if path == ["pvt_account_id"] {
                return Some(part(&attachment.account));
            }
            attachment.document.field(&path).map(|value| part(&value))
        }
        FieldListEntry::Group(list) => {
            let parts = list.iter().filter_map(|entry| text(entry, escaping, attachment));
            Some(parts.collect())
        }
    }
}

/// Returns the folders in front of a name. KAZOO does not escape them.
fn folder(folders: &Folders, dialect: &Dialect) -> Option<String> {
    let folder = match (&folders.path, &folders.base, &folders.folder) {
        (Some(path), _, _) => path.clone(),
        (None, Some(base), Some(folder)) if !folder.starts_with('/') => {
            joined_folders(&format!("{}/{folder}", base.trim_end_matches('/')))
        }
        (None, Some(_), Some(folder)) => joined_folders(folder),
        (None, None, Some(folder)) => folder.clone(),
        (None, base, None) => base.clone()?,
    };
    let folder = match dialect.fetch {
        // Releases that fetch by the stored URL keep the slash at the end.
        FetchTarget::Stored => folder,
        FetchTarget::StoredAndName | FetchTarget::SettingsAndName => folder.trim_end_matches('/').to_owned(),
    };
    (!folder.is_empty()).then_some(folder)
}

/// Joining two folders removes the slash at the end.
fn joined_folders(folder: &str) -> String {
    folder.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    fn name_by(settings: &str, dialect: &Dialect) -> String {
        let document = r#"{"_id":"D","owner_id":"O","a":{"b":[1,"x"]},"n":7,"empty":"","null":null,"yes":true}"#;
        let attachment = Attachment::new("A", Document::from_json(document).unwrap(), "a b.mp3", "");
        let settings = format!(r#"{{"url":"http://h","verb":"put"{settings}}}"#);
        name(&RawSettings::from_json(&settings).unwrap(), dialect, &attachment)
    }

    #[test]
    fn makes_a_name_from_the_fields_of_the_document() {
        for (settings, expected) in [
            ("", "A/O/D/a%20b.mp3"),
            (r#","field_separator":"-""#, "A-O-D-a%20b.mp3"),
            (
                r#","field_list":[{"arg":"id"},{"arg":"nope"},{"field":"nope"},"x y"]"#,
                "D/x y",
            ),
            (
                r#","field_list":[{"field":["a","b"]},{"field":"n"},{"field":"_id"}]"#,
                "%5B1%2C%22x%22%5D/7/D",
            ),
            (
                r#","field_list":[{"group":["in-",{"field":"pvt_account_id"},{"field":"nope"}]},{"arg":"db"}]"#,
                "in-A/A",
            ),
            (r#","field_list":[]"#, ""),
            (
                r#","file":"all.bin","folder_path":"b","field_list":[{"arg":"id"}]"#,
                "all.bin",
            ),
            (
                r#","field_list":[{"field":"empty"},{"field":"null"},{"field":"yes"}]"#,
                "true",
            ),
        ] {
            assert_eq!(name_by(settings, &Dialect::KAZOO_4_3_106), expected, "{settings}");
        }
    }

    #[test]
    fn open_kazoo_escapes_fields_but_not_constants() {
        let list = r#","field_list":["x y",{"field":["a","b"]},{"group":["in ",{"arg":"attachment"}]}]"#;
        assert_eq!(name_by("", &Dialect::OPEN_KAZOO), "A/O/D/a+b.mp3");
        assert_eq!(name_by(list, &Dialect::OPEN_KAZOO), "x y/%5B1%2C%22x%22%5D/in a+b.mp3");
    }

    #[test]
    fn folders_precede_a_name_unescaped() {
        for (settings, newer, older) in [
            (r#","folder_base_path":"/a/b/""#, "/a/b", "/a/b/"),
            (r#","folder_base_path":"a","folder_path":"b c""#, "a/b c", "a/b c"),
            (r#","folder_base_path":"a/","folder_path":"b/""#, "a/b", "a/b"),
            (r#","folder_path":"b/""#, "b", "b/"),
            (r#","folder_base_path":"a","folder_path":"/b""#, "/b", "/b"),
            (r#","folder_base_path":"a","path":"p""#, "p", "p"),
        ] {
            assert_eq!(
                name_by(settings, &Dialect::KAZOO_4_3_106),
                format!("{newer}/A/O/D/a%20b.mp3")
            );
            assert_eq!(
                name_by(settings, &Dialect::KAZOO_4_3_21),
                format!("{older}/A/O/D/a%20b.mp3")
            );
        }
        assert_eq!(
            name_by(r#","folder_base_path":"""#, &Dialect::KAZOO_4_3_106),
            "A/O/D/a%20b.mp3"
        );
    }
}
