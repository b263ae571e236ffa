//! `field_list`: what KAZOO makes a file's name of, and what its parts are when it comes.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use super::invalid;
use crate::{error::Result, key::BlobKey};

/// What the parts of a key are, as far as `field_list` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fields {
    /// The account the file belongs to.
    pub account: Option<String>,
    /// The owner of the document, if it has one.
    pub owner: Option<String>,
    /// The document the file is attached to.
    pub document: Option<String>,
    /// The file's own name.
    pub attachment: Option<String>,
    /// The database the document is in.
    pub database: Option<String>,
}

/// An entry of `field_list`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Element {
    /// The same as `const`.
    Text(String),
    Named(Named),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Named {
    /// What KAZOO knows of the file: `account_id`, `id` (the document's), `attachment` or `db`; nothing for another.
    Arg(String),
    /// As it is.
    Const(String),
    /// A field of the document, if it has it; a list leads to one of an object in it.
    Field(Value),
    /// Several, without a separator between them.
    Group(Vec<Element>),
}

/// What one part of a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Account,
    Owner,
    Document,
    Attachment,
    Database,
    /// A field that the document may not have.
    Other,
    Text(String),
    /// Parts with nothing between them: which is where, only KAZOO knows.
    Group(Vec<Part>),
}

/// What a name is made of.
#[derive(Clone, Debug)]
pub(super) struct Template {
    parts: Vec<Part>,
    separator: String,
}

impl Template {
    /// Of a name that begins with `folders`; by default what KAZOO has without a `field_list`.
    pub(super) fn new(folders: &[&str], list: Option<Vec<Element>>, separator: &str) -> Result<Self> {
        let folders = folders.iter().flat_map(|folder| folder.split('/'));
        let folders = folders
            .filter(|folder| !folder.is_empty())
            .map(|folder| Part::Text(folder.to_owned()));
        let list = match list {
            Some(list) => list.into_iter().filter_map(part).collect(),
            None => vec![Part::Account, Part::Owner, Part::Document, Part::Attachment],
        };
        if !list.iter().any(tells_apart) {
            return Err(invalid(
                "nothing in `field_list` tells one file from another, so that each would replace the last: let it have \
                 `{\"arg\": \"id\"}` and `{\"arg\": \"attachment\"}`",
            ));
        }
        Ok(Self {
            parts: folders.chain(list).collect(),
            separator: separator.to_owned(),
        })
    }

    /// What may lose files.
    pub(super) fn warning(&self) -> Option<String> {
        let has = |part: &Part| self.parts.iter().any(|each| contains(each, part));
        let unique = has(&Part::Document) || self.parts.iter().any(|part| contains(part, &Part::Other));
        (has(&Part::Attachment) && !unique).then(|| {
            "`field_list` has no `{\"arg\": \"id\"}`: files of the same name replace each other, as faxes and the credentials test of \
             several accounts may"
                .to_owned()
        })
    }

    /// What the parts of `key` are; none if it is not of this template, or cannot be taken apart.
    pub(super) fn fields(&self, key: &BlobKey) -> Option<Fields> {
        let pieces: Vec<String> = if self.separator == "/" {
            key.segments().map(str::to_owned).collect()
        } else {
            // Folders are segments of their own; the rest is one.
            let mut segments: Vec<&str> = key.segments().collect();
            let name = segments.pop()?;
            let separator = percent_decode_str(&self.separator).decode_utf8().ok()?;
            let folders = segments.into_iter().map(str::to_owned);
            if separator.is_empty() {
                return None;
            }
            folders.chain(name.split(&*separator).map(str::to_owned)).collect()
        };
        let mut fields = Fields::default();
        let glue = if self.separator == "/" {
            None
        } else {
            Some(&*self.separator)
        };
        assign(&self.parts, &pieces, glue, &mut fields).then_some(fields)
    }
}

/// What an entry stands for; nothing for an argument that KAZOO does not have.
fn part(element: Element) -> Option<Part> {
    Some(match element {
        Element::Text(text) | Element::Named(Named::Const(text)) => Part::Text(text),
        Element::Named(Named::Arg(name)) => match &*name {
            "account_id" => Part::Account,
            "id" => Part::Document,
            "attachment" => Part::Attachment,
            "db" => Part::Database,
            _ => return None,
        },
        Element::Named(Named::Field(name)) => match name.as_str() {
            Some("pvt_account_id") => Part::Account,
            Some("owner_id") => Part::Owner,
            Some("_id" | "id") => Part::Document,
            _ => Part::Other,
        },
        Element::Named(Named::Group(list)) => Part::Group(list.into_iter().filter_map(part).collect()),
    })
}

/// Whether it differs from file to file.
fn tells_apart(part: &Part) -> bool {
    match part {
        Part::Document | Part::Attachment | Part::Other => true,
        Part::Account | Part::Owner | Part::Database | Part::Text(_) => false,
        Part::Group(parts) => parts.iter().any(tells_apart),
    }
}

fn contains(part: &Part, wanted: &Part) -> bool {
    match part {
        Part::Group(parts) => parts.iter().any(|part| contains(part, wanted)),
        part => part == wanted,
    }
}

/// Assigns `pieces` to `parts` from the left, and says whether they fit. With a `glue` that names may hold too, a part
/// can take several pieces.
fn assign(parts: &[Part], pieces: &[String], glue: Option<&str>, fields: &mut Fields) -> bool {
    let Some((part, parts)) = parts.split_first() else {
        return pieces.is_empty();
    };
    let most = if glue.is_some() {
        pieces.len()
    } else {
        pieces.len().min(1)
    };
    for count in 1..=most {
        let Some((taken, rest)) = pieces.split_at_checked(count) else {
            break;
        };
        let text = taken.join(glue.unwrap_or_default());
        let mut found = fields.clone();
        if take(part, text, glue.is_some(), &mut found) && assign(parts, rest, glue, &mut found) {
            *fields = found;
            return true;
        }
    }
    // What a document does not have is left out, separator and all.
    matches!(part, Part::Owner | Part::Other) && assign(parts, pieces, glue, fields)
}

/// Whether `text` can be what `part` stands for; with `strictly`, only if it looks like it.
fn take(part: &Part, text: String, strictly: bool, fields: &mut Fields) -> bool {
    match part {
        Part::Account if strictly && !is_account(&text) => return false,
        Part::Account => fields.account = Some(text),
        // An owner is an id as a user's is, which keeps a key of three parts from having one.
        Part::Owner if !is_hex(&text) => return false,
        Part::Owner => fields.owner = Some(text),
        Part::Document if strictly && !is_document(&text) => return false,
        Part::Document => fields.document = Some(text),
        Part::Attachment => fields.attachment = Some(text),
        Part::Database => fields.database = Some(text),
        Part::Other => {}
        Part::Text(expected) => return *expected == text,
        Part::Group(parts) => {
            // A constant behind the name, such as `?from=x`, is no part of the path.
            let mut named = parts
                .iter()
                .filter(|part| !matches!(part, Part::Text(text) if text.starts_with('?')));
            return match (named.next(), named.next()) {
                (Some(only), None) => take(only, text, strictly, fields),
                _ => true,
            };
        }
    }
    true
}

fn is_hex(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// An account's id, or what stands in its place for the whole system and for a document of no account.
fn is_account(text: &str) -> bool {
    is_hex(text) || matches!(text, "system_data" | "unknown_account")
}

/// A document's id, which in a database of one month begins with that.
fn is_document(text: &str) -> bool {
    let id = match text.split_once('-') {
        Some((month, id)) if month.len() == 6 && month.bytes().all(|byte| byte.is_ascii_digit()) => id,
        _ => text,
    };
    is_hex(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";
    const OWNER: &str = "1a2b3c4d5e6f708192a3b4c5d6e7f809";
    const DOCUMENT: &str = "202401-9f86d081884c7d659a2feaa0c55ad015";

    fn template(folders: &[&str], list: Option<&str>, separator: &str) -> Template {
        let list = list.map(|list| serde_json::from_str(list).unwrap());
        Template::new(folders, list, separator).unwrap()
    }

    /// Account, owner, document, attachment and database.
    fn fields(template: &Template, path: &str) -> Option<[Option<String>; 5]> {
        let key = BlobKey::from_path(path).unwrap();
        let found = template.fields(&key)?;
        Some([
            found.account,
            found.owner,
            found.document,
            found.attachment,
            found.database,
        ])
    }

    fn all(of: [&str; 5]) -> [Option<String>; 5] {
        of.map(|text| (!text.is_empty()).then(|| text.to_owned()))
    }

    #[test]
    fn by_default_a_name_has_three_parts_or_four() {
        let template = template(&[], None, "/");
        let path = format!("{ACCOUNT}/{DOCUMENT}/a%2Fb.mp3");
        assert_eq!(
            fields(&template, &path),
            Some(all([ACCOUNT, "", DOCUMENT, "a/b.mp3", ""]))
        );
        let path = format!("{ACCOUNT}/{OWNER}/{DOCUMENT}/a.mp3");
        assert_eq!(
            fields(&template, &path),
            Some(all([ACCOUNT, OWNER, DOCUMENT, "a.mp3", ""]))
        );
        for other in ["a.mp3", "A/B", "A/B/C/D", "A/B/C/D/E"] {
            assert_eq!(fields(&template, other), None, "{other}");
        }
        let folders = self::template(&["/abs/base/", "sub"], None, "/");
        let path = format!("abs/base/sub/system_data/{DOCUMENT}/a.mp3");
        assert_eq!(
            fields(&folders, &path),
            Some(all(["system_data", "", DOCUMENT, "a.mp3", ""]))
        );
        assert_eq!(fields(&folders, "other/base/sub/A/D/a.mp3"), None);
    }

    #[test]
    fn a_list_says_what_the_parts_are() {
        let list = r#"["static", {"arg":"account_id"}, {"arg":"db"}, {"arg":"id"}, {"field":"source_type"}, {"arg":"nope"},
                       {"group":[{"arg":"attachment"}, {"const":"?from=x"}]}]"#;
        let template = template(&[], Some(list), "/");
        let path = "static/A/account%2F0c%2F8f%2F1c/D/voicemail/a.mp3";
        assert_eq!(
            fields(&template, path),
            Some(all(["A", "", "D", "a.mp3", "account/0c/8f/1c"]))
        );
        let without_the_field = "static/A/DB/D/a.mp3";
        assert_eq!(
            fields(&template, without_the_field),
            Some(all(["A", "", "D", "a.mp3", "DB"]))
        );
        assert_eq!(fields(&template, "A/DB/D/a.mp3"), None);
    }

    #[test]
    fn a_separator_may_stand_in_the_parts_too() {
        let dashes = template(&[], None, "-");
        let path = format!("{ACCOUNT}-{DOCUMENT}-a-b.mp3");
        assert_eq!(
            fields(&dashes, &path),
            Some(all([ACCOUNT, "", DOCUMENT, "a-b.mp3", ""]))
        );
        let path = format!("{ACCOUNT}-{OWNER}-{DOCUMENT}-a.mp3");
        assert_eq!(
            fields(&dashes, &path),
            Some(all([ACCOUNT, OWNER, DOCUMENT, "a.mp3", ""]))
        );
        let escaped = template(&[], None, "%2F");
        let path = format!("{ACCOUNT}%2F{DOCUMENT}%2Fa.mp3");
        assert_eq!(fields(&escaped, &path), Some(all([ACCOUNT, "", DOCUMENT, "a.mp3", ""])));
        assert_eq!(fields(&template(&[], None, ""), "Aa.mp3"), None);
    }

    #[test]
    fn a_list_that_loses_files_is_refused_or_warned_of() {
        for list in [r#"[{"arg":"account_id"}]"#, r#"["x"]"#, r#"[{"arg":"nope"}]"#] {
            let list: Vec<Element> = serde_json::from_str(list).unwrap();
            assert!(
                Template::new(&[], Some(list), "/")
                    .unwrap_err()
                    .message()
                    .contains("tells one file")
            );
        }
        let names_only = template(&[], Some(r#"[{"arg":"account_id"},{"arg":"attachment"}]"#), "/");
        assert!(names_only.warning().unwrap().contains("same name"));
        assert_eq!(template(&[], None, "/").warning(), None);
        serde_json::from_str::<Vec<Element>>(r#"[{"argument":"id"}]"#)
            .map(drop)
            .unwrap_err();
    }
}
