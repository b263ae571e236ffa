//! `field_list`: what KAZOO makes a file's name of.

use std::collections::HashSet;

use super::{
    element::{Element, Named, until},
    invalid,
    pieces::{Fields, Part, Pieces},
    verbatim::{check_raw, decoded, segments},
};
use crate::{error::Result, key::BlobKey};

/// What a name is made of.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// Decoded.
    folders: Vec<String>,
    parts: Vec<Part>,
    separator: Separator,
    /// The minimum number of segments in a name, including the folders.
    least: usize,
    warning: Option<&'static str>,
}

/// What stands between the parts.
#[derive(Clone, Debug)]
enum Separator {
    /// Each part is a segment.
    Slash,
    /// All parts are one segment, and this, decoded, stands between them and may stand in them.
    Within(String),
    /// Something by which a name cannot be taken apart.
    Other,
}

impl Template {
    /// Of a name that begins with `folders`; by default what KAZOO has without a `field_list`. It ends where one of `ends`
    /// stands in a constant or in the separator.
    pub(super) fn new(
        folders: Vec<String>,
        list: Option<Vec<Element>>,
        separator: Option<&str>,
        ends: &[char],
    ) -> Result<Self> {
        let list = list.unwrap_or_else(|| {
            let arg = |name: &str| Element::Named(Named::Arg(name.to_owned()));
            let owner = Element::Named(Named::Field("owner_id".into()));
            vec![arg("account_id"), owner, arg("id"), arg("attachment")]
        });
        let separator = separator.unwrap_or("/");
        check_raw("field_separator", separator)?;
        let shown = until(separator, ends);
        let mut name = Name {
            over: false,
            seen: Vec::new(),
            ends,
            ends_with_slash: false,
        };
        let mut parts = Vec::new();
        let mut least = 0;
        let separated = shown == separator;
        let by_slash = separated && !separator.is_empty() && separator.bytes().all(|byte| byte == b'/');
        for element in list {
            if name.over {
                element.check()?;
                continue;
            }
            let certain = element.is_certain(ends);
            match name.part(element)? {
                Some(Part::Text(text)) if by_slash => {
                    let segments = segments("field_list", &text)?;
                    least += segments.len();
                    parts.extend(segments.into_iter().map(Part::Text));
                }
                Some(Part::Text(text)) => parts.push(Part::Text(decoded(&text))),
                Some(part) => {
                    least += usize::from(certain);
                    parts.push(part);
                }
                None => continue,
            }
            name.over |= !separated;
        }
        if name.ends_with_slash {
            return Err(invalid(
                "a name made by `field_list` would end with a slash, and a file has no name then; leave the slash at its end out",
            ));
        }
        let has = |part: &Part| name.seen.contains(part);
        if ![Part::Document, Part::Attachment, Part::Other].iter().any(has) {
            return Err(invalid(
                "nothing in the path tells one file from another, so that each would replace the last: let `field_list` have \
                 `{\"arg\": \"id\"}` and `{\"arg\": \"attachment\"}` before any `?` or `#`",
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
            least: folders.len() + if by_slash { least.max(1) } else { 1 },
            folders,
            parts,
            separator,
            warning: (!unique).then_some(
                "`field_list` does not have both `{\"arg\": \"id\"}` and `{\"arg\": \"attachment\"}` in the path: files that \
                 differ in nothing else, as those of a fax or of a call may, replace each other",
            ),
        })
    }

    /// Returns the minimum number of segments in a key that KAZOO makes.
    pub(super) fn least(&self) -> usize {
        self.least
    }

    /// What may lose files.
    pub(super) fn warning(&self) -> Option<&'static str> {
        self.warning
    }

    /// What the parts of `key` are; none if it is not of this template, or cannot be taken apart.
    pub(super) fn fields(&self, key: &BlobKey) -> Option<Fields> {
        let segments: Vec<&str> = key.segments().collect();
        let rest = segments.strip_prefix(&*self.folders.iter().map(String::as_str).collect::<Vec<_>>())?;
        let pieces = match (&self.separator, rest) {
            (Separator::Slash, rest) => Pieces::new(rest.iter().copied(), None),
            (Separator::Within(separator), [name]) => Pieces::new(name.split(&**separator), Some(separator)),
            _ => return None,
        };
        pieces.assign(&self.parts, 0, &mut HashSet::new())
    }
}

/// What of the list has been read.
struct Name<'a> {
    /// What follows is no part of the name.
    over: bool,
    /// All that is in the name, in groups too.
    seen: Vec<Part>,
    ends: &'a [char],
    /// `true` if the name read so far ends with a slash.
    ends_with_slash: bool,
}

impl Name<'_> {
    /// What `element` stands for; nothing for an argument that KAZOO does not have. A text is as it was written.
    fn part(&mut self, element: Element) -> Result<Option<Part>> {
        element.check()?;
        let part = match element {
            Element::Text(text) | Element::Named(Named::Const(text)) => {
                let shown = until(&text, self.ends);
                self.over = shown.len() < text.len();
                self.ends_with_slash = shown.ends_with('/') || (shown.is_empty() && self.ends_with_slash);
                return Ok((!shown.is_empty()).then(|| Part::Text(shown.to_owned())));
            }
            Element::Named(Named::Arg(name)) => match &*name {
                "account_id" => Part::Account,
                "id" => Part::Document,
                "attachment" => Part::Attachment,
                "db" => Part::Database,
                _ => return Ok(None),
            },
            Element::Named(Named::Field(name)) => match name.as_str() {
                Some("pvt_account_id") => Part::Account,
                Some("owner_id") => Part::Owner,
                Some("_id" | "id") => Part::Document,
                _ => Part::Other,
            },
            Element::Named(Named::Group(list)) => {
                let mut group = Vec::new();
                for element in list {
                    if self.over {
                        element.check()?;
                    } else {
                        group.extend(self.part(element)?);
                    }
                }
                // A group of one is as that one is.
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

    fn read(folder: &str, list: Option<&str>, separator: &str, ends: &[char]) -> Result<Template> {
        let list = list.map(|list| serde_json::from_str(list).unwrap());
        Template::new(segments("path", folder)?, list, Some(separator), ends)
    }

    fn template(folder: &str, list: Option<&str>, separator: &str) -> Template {
        read(folder, list, separator, &PATH).unwrap()
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
    fn a_list_says_what_the_parts_are() {
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
    fn a_separator_may_stand_in_the_parts_too() {
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
    fn constants_are_split_and_decoded_as_a_path_is() {
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
    fn a_name_of_separators_alone_is_taken_apart_at_once() {
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
    fn a_list_that_loses_files_is_refused_or_warned_of() {
        let both = r#"[{"arg":"id"},{"arg":"attachment"}]"#;
        for (list, separator) in [
            (r#"[{"arg":"account_id"}]"#, "/"),
            (r#"["x"]"#, "/"),
            (r#"[{"arg":"nope"}]"#, "/"),
            (r#"[{"group":[{"const":"rec?id="},{"arg":"id"}]}]"#, "/"),
            (r#"["rec#", {"arg":"id"},{"arg":"attachment"}]"#, "/"),
            (r#"[{"arg":"account_id"},{"arg":"id"},{"arg":"attachment"}]"#, "?"),
        ] {
            assert!(refusal(list, separator).contains("tells one file"), "{list}");
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
        serde_json::from_str::<Vec<Element>>(r#"[{"argument":"id"}]"#)
            .map(drop)
            .unwrap_err();
    }

    #[test]
    fn what_no_path_can_hold_is_refused() {
        for (constant, separator) in [
            ("a<b", "/"),
            ("%2", "/"),
            ("a/../b", "/"),
            ("%2E", "/"),
            ("x?a b", "/"),
            ("x", " "),
        ] {
            let list = format!(r#"[{{"arg":"id"}}, {{"arg":"attachment"}}, "{constant}"]"#);
            assert!(refusal(&list, separator).contains("no URL can hold"), "{constant}");
        }
        // Not alone in its segment.
        let list = r#"[{"group":[{"arg":"id"}, ".", {"arg":"attachment"}]}]"#;
        assert_eq!(template("", Some(list), "/").warning(), None);
    }
}
