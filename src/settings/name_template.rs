//! [`NameTemplate`]: the form of the names that KAZOO makes from `field_list`.

use std::collections::HashSet;

use super::{
    field_list::{FieldListEntry, until},
    invalid,
    literal::{check_literal, decoded, segments},
    name_match::{Fields, NamePieces, Part},
};
use crate::{error::Result, key::BlobKey};

/// The form of a name: folders, parts and a separator.
#[derive(Clone, Debug)]
pub(super) struct NameTemplate {
    /// The decoded segments before the name.
    folders: Vec<String>,
    parts: Vec<Part>,
    separator: Separator,
    /// The minimum number of segments in a name, including the folders.
    min_segments: usize,
    warning: Option<&'static str>,
}

/// The separator between the parts.
#[derive(Clone, Debug)]
enum Separator {
    /// Each part is a segment.
    Slash,
    /// All parts are one segment, separated by this decoded text, which the parts may contain too.
    Within(String),
    /// A separator by which a name cannot be split.
    Other,
}

impl NameTemplate {
    /// Creates the template of names that begin with `folders`.
    ///
    /// Without a `list`, the entries are KAZOO's default. A name ends at the first of `ends` in a constant or in the
    /// separator.
    pub(super) fn new(
        folders: Vec<String>,
        list: Option<Vec<FieldListEntry>>,
        separator: Option<&str>,
        ends: &[char],
    ) -> Result<Self> {
        let list = list.unwrap_or_else(FieldListEntry::default_list);
        let separator = separator.unwrap_or("/");
        check_literal("field_separator", separator)?;
        let kept = until(separator, ends);
        let mut name = Reader {
            ended: false,
            seen: Vec::new(),
            ends,
            ends_with_slash: false,
        };
        let mut parts = Vec::new();
        let mut min_segments = 0;
        let separated = kept == separator;
        let by_slash = separated && !separator.is_empty() && separator.bytes().all(|byte| byte == b'/');
        for entry in list {
            if name.ended {
                entry.check()?;
                continue;
            }
            let certain = entry.is_certain(ends);
            match name.part(entry)? {
                Some(Part::Text(text)) if by_slash => {
                    let segments = segments("field_list", &text)?;
                    min_segments += segments.len();
                    parts.extend(segments.into_iter().map(Part::Text));
                }
                Some(Part::Text(text)) => parts.push(Part::Text(decoded(&text))),
                Some(part) => {
                    min_segments += usize::from(certain);
                    parts.push(part);
                }
                None => continue,
            }
            name.ended |= !separated;
        }
        if name.ends_with_slash {
            return Err(invalid(
                "names made by `field_list` end with a slash, so files have no name; remove the slash at the end",
            ));
        }
        let has = |part: &Part| name.seen.contains(part);
        if ![Part::Document, Part::Attachment, Part::Other].iter().any(has) {
            return Err(invalid(
                "nothing in the path distinguishes the files, so that each would replace the last one: add `{\"arg\": \"id\"}` and \
                 `{\"arg\": \"attachment\"}` to `field_list`, before any `?` or `#`",
            ));
        }
        let unique = has(&Part::Document) && has(&Part::Attachment);
        let separator = if by_slash {
            Separator::Slash
        } else if separated && !separator.is_empty() && !separator.contains('/') {
            Separator::Within(decoded(separator))
        } else {
            Separator::Other
        };
        Ok(Self {
            min_segments: folders.len() + if by_slash { min_segments.max(1) } else { 1 },
            folders,
            parts,
            separator,
            warning: (!unique).then_some(
                "`field_list` does not put both `{\"arg\": \"id\"}` and `{\"arg\": \"attachment\"}` into the path: files that \
                 differ in nothing else, such as those of one fax or one call, replace each other",
            ),
        })
    }

    /// Returns the minimum number of segments in a key that KAZOO makes.
    pub(super) fn min_segments(&self) -> usize {
        self.min_segments
    }

    /// Returns a warning if names may not be unique.
    pub(super) fn warning(&self) -> Option<&'static str> {
        self.warning
    }

    /// Returns the fields of `key`, or `None` if it does not match this template or cannot be split.
    pub(super) fn fields(&self, key: &BlobKey) -> Option<Fields> {
        let segments: Vec<&str> = key.segments().collect();
        let rest = segments.strip_prefix(&*self.folders.iter().map(String::as_str).collect::<Vec<_>>())?;
        let pieces = match (&self.separator, rest) {
            (Separator::Slash, rest) => NamePieces::new(rest.iter().copied(), None),
            (Separator::Within(separator), [name]) => NamePieces::new(name.split(&**separator), Some(separator)),
            _ => return None,
        };
        pieces.assign(&self.parts, 0, &mut HashSet::new())
    }
}

/// Reads the entries of a `field_list`.
struct Reader<'a> {
    /// `true` if the name has ended: further entries are not part of it.
    ended: bool,
    /// All parts of the name, including those in groups.
    seen: Vec<Part>,
    ends: &'a [char],
    /// `true` if the name read so far ends with a slash.
    ends_with_slash: bool,
}

impl Reader<'_> {
    /// Returns the part that `entry` adds, or `None` if KAZOO has no such value. Text stays encoded.
    fn part(&mut self, entry: FieldListEntry) -> Result<Option<Part>> {
        entry.check()?;
        let part = match entry {
            FieldListEntry::Const(text) => {
                let kept = until(&text, self.ends);
                self.ended = kept.len() < text.len();
                self.ends_with_slash = kept.ends_with('/') || (kept.is_empty() && self.ends_with_slash);
                return Ok((!kept.is_empty()).then(|| Part::Text(kept.to_owned())));
            }
            FieldListEntry::Arg(name) => match &*name {
                "account_id" => Part::Account,
                "id" => Part::Document,
                "attachment" => Part::Attachment,
                "db" => Part::Database,
                _ => return Ok(None),
            },
            FieldListEntry::Field(name) => match name.as_str() {
                Some("pvt_account_id") => Part::Account,
                Some("owner_id") => Part::Owner,
                Some("_id" | "id") => Part::Document,
                _ => Part::Other,
            },
            FieldListEntry::Group(list) => {
                let mut group = Vec::new();
                for entry in list {
                    if self.ended {
                        entry.check()?;
                    } else {
                        group.extend(self.part(entry)?);
                    }
                }
                // A group of one part is that part.
                return Ok(match group.pop() {
                    Some(only) if group.is_empty() => Some(only),
                    Some(_) => Some(Part::Mixed),
                    None => None,
                });
            }
        };
        self.ends_with_slash = false;
        self.seen.push(part.clone());
        Ok(Some(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";
    const OWNER: &str = "1a2b3c4d5e6f708192a3b4c5d6e7f809";
    const DOCUMENT: &str = "202401-9f86d081884c7d659a2feaa0c55ad015";
    const PATH: [char; 2] = ['?', '#'];

    fn read(folder: &str, list: Option<&str>, separator: &str, ends: &[char]) -> Result<NameTemplate> {
        let list = list.map(|list| serde_json::from_str(list).unwrap());
        NameTemplate::new(segments("path", folder)?, list, Some(separator), ends)
    }

    fn template(folder: &str, list: Option<&str>, separator: &str) -> NameTemplate {
        read(folder, list, separator, &PATH).unwrap()
    }

    /// Account, owner, document, attachment and database.
    fn fields(template: &NameTemplate, path: &str) -> Option<[Option<String>; 5]> {
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
    fn a_default_name_has_three_or_four_parts() {
        let template = template("", None, "/");
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
        let folders = self::template("/abs//b%61se/sub", None, "/");
        let path = format!("abs/base/sub/system_data/{DOCUMENT}/a.mp3");
        assert_eq!(
            fields(&folders, &path),
            Some(all(["system_data", "", DOCUMENT, "a.mp3", ""]))
        );
        assert_eq!(fields(&folders, "other/base/sub/A/D/a.mp3"), None);
    }

    #[test]
    fn a_list_determines_the_parts() {
        let list = r#"["static", {"arg":"account_id"}, {"arg":"db"}, {"arg":"id"}, {"field":"source_type"}, {"arg":"nope"},
                       {"group":[{"arg":"attachment"}, {"const":"?from=x"}]}]"#;
        let template = template("", Some(list), "/");
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
    fn the_parts_may_contain_the_separator() {
        let dashes = template("", None, "-");
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
        let escaped = template("", None, "%2F");
        let path = format!("{ACCOUNT}%2F{DOCUMENT}%2Fa.mp3");
        assert_eq!(fields(&escaped, &path), Some(all([ACCOUNT, "", DOCUMENT, "a.mp3", ""])));
        assert_eq!(fields(&template("", None, ""), "Aa.mp3"), None);
    }

    #[test]
    fn splits_and_decodes_constants_like_a_path() {
        let list = r#"["a/b%20c/", {"group":["d"]}, {"arg":"id"}, {"group":["x-", {"arg":"attachment"}]}]"#;
        let by_slash = template("", Some(list), "/");
        assert_eq!(
            fields(&by_slash, "a/b%20c/d/D/x-a.mp3"),
            Some(all(["", "", "D", "", ""]))
        );
        let by_tilde = template("in", Some(r#"["a%7Eb", {"arg":"id"}, {"arg":"attachment"}]"#), "~");
        let path = format!("in/a~b~{DOCUMENT}~a.mp3");
        assert_eq!(fields(&by_tilde, &path), Some(all(["", "", DOCUMENT, "a.mp3", ""])));
    }

    #[test]
    fn splits_a_name_of_many_separators_in_bounded_time() {
        let list = format!(
            "[{}{{\"arg\":\"id\"}}]",
            r#"{"field":"a"},{"arg":"attachment"},"#.repeat(12)
        );
        let template = template("", Some(&list), "-");
        assert_eq!(fields(&template, &"-".repeat(1024)), None);
    }

    fn refusal(list: &str, separator: &str) -> String {
        let error = read("", Some(list), separator, &PATH).unwrap_err();
        error.message().to_owned()
    }

    #[test]
    fn refuses_or_warns_of_a_list_that_loses_files() {
        let both = r#"[{"arg":"id"},{"arg":"attachment"}]"#;
        for (list, separator) in [
            (r#"[{"arg":"account_id"}]"#, "/"),
            (r#"["x"]"#, "/"),
            (r#"[{"arg":"nope"}]"#, "/"),
            (r#"[{"group":[{"const":"rec?id="},{"arg":"id"}]}]"#, "/"),
            (r#"["rec#", {"arg":"id"},{"arg":"attachment"}]"#, "/"),
            (r#"[{"arg":"account_id"},{"arg":"id"},{"arg":"attachment"}]"#, "?"),
        ] {
            assert!(refusal(list, separator).contains("distinguishes the files"), "{list}");
        }
        for (list, separator) in [
            (r#"[{"arg":"account_id"},{"arg":"attachment"}]"#, "/"),
            (r#"[{"arg":"id"}]"#, "/"),
            (r#"[{"field":"call_id"}, ".mp3"]"#, ""),
            (r#"[{"arg":"id"}, {"group":["?", {"arg":"attachment"}]}]"#, "/"),
            (both, "#"),
            (both, "/x?y="),
        ] {
            let warning = template("", Some(list), separator).warning().unwrap();
            assert!(warning.contains("replace each other"), "{list}");
        }
        assert_eq!(template("", Some(both), "/").warning(), None);
        assert_eq!(template("", None, "/").warning(), None);
        // In a query only `&` and `#` end the name.
        let list = Some(r#"[{"arg":"id"}, "?", {"arg":"attachment"}]"#);
        assert_eq!(read("", list, "/", &['&', '#']).unwrap().warning(), None);
        assert!(read("", list, "&", &['&', '#']).unwrap().warning().is_some());
        serde_json::from_str::<Vec<FieldListEntry>>(r#"[{"argument":"id"}]"#)
            .map(drop)
            .unwrap_err();
    }

    #[test]
    fn refuses_text_that_no_path_can_contain() {
        for (constant, separator) in [
            ("a<b", "/"),
            ("%2", "/"),
            ("a/../b", "/"),
            ("%2E", "/"),
            ("x?a b", "/"),
            ("x", " "),
        ] {
            let list = format!(r#"[{{"arg":"id"}}, {{"arg":"attachment"}}, "{constant}"]"#);
            assert!(refusal(&list, separator).contains("no URL can contain"), "{constant}");
        }
        // Not alone in its segment.
        let list = r#"[{"group":[{"arg":"id"}, ".", {"arg":"attachment"}]}]"#;
        assert_eq!(template("", Some(list), "/").warning(), None);
    }
}
