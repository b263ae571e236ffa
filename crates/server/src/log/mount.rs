//! The path that every file is under, and what of it may be shown.
//!
//! KAZOO's token is a part of its URL, so a path that was copied from there may have one.

use std::{borrow::Cow, fmt};

use http::uri::PathAndQuery;
use kazoo_storage::{AccessRules, KazooSettings, normalize_path};

use super::mask;

#[derive(Clone)]
pub(crate) struct Mount {
    /// Normalized, like the secrets, because KAZOO may send another spelling.
    path: String,
    /// Whether the operator has said it, so that it ends before a token.
    said: bool,
    /// The segments, here and behind it in the URL of the settings, that may be a token.
    secrets: Vec<String>,
}

impl Mount {
    /// The mount that is `asked` for, or that of the settings.
    pub(crate) fn new(asked: Option<&str>, settings: Option<&KazooSettings>) -> Result<Self, String> {
        let url = settings.map(KazooSettings::mount);
        let path = asked.or(url).unwrap_or("/some_prefix");
        let parsed = PathAndQuery::try_from(path).ok();
        if !path.starts_with('/') || parsed.is_none_or(|parsed| parsed.path() != path) {
            let message =
                "a mount is the path of a URL: it begins with `/`, and what is no letter or digit is percent-encoded";
            return Err(format!("--mount: {message}"));
        }
        let path = normalize_path(path);
        let Some(behind) = url.map_or(Some(""), |url| behind(url, &path)) else {
            return Err("the path of the URL in --settings does not begin with --mount".to_owned());
        };
        let own = path.split('/').filter(|segment| looks_secret(segment));
        let behind = behind.split('/').filter(|segment| !segment.is_empty());
        Ok(Self {
            said: asked.is_some() || url.is_none(),
            secrets: own.chain(behind).map(str::to_owned).collect(),
            path: path.into_owned(),
        })
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The mount as it may be shown.
    pub(crate) fn shown(&self) -> String {
        self.hide(&self.path)
    }

    /// Whether there is something in it that is not shown.
    pub(crate) fn is_masked(&self) -> bool {
        self.shown() != self.path
    }

    /// Returns the path of a request for the log, [`spelled`] as the mount is.
    pub(crate) fn mask(&self, path: &str) -> String {
        mask::below(&self.shown(), &self.hide(path))
    }

    /// `path`, or a key, without what may be a token.
    pub(crate) fn hide(&self, path: &str) -> String {
        mask::redacted(path, |segment| {
            let segment = normalize_path(segment);
            self.secrets.iter().any(|secret| *secret == segment)
        })
    }

    /// Whether it ends before a token, if these rules have tokens.
    pub(crate) fn suits(&self, rules: &AccessRules) -> Result<(), String> {
        // Where in the path a token is, only its owner knows.
        if !self.said && rules.has_tokens() {
            return Err(
                "--access has tokens, and the path of the URL in --settings may have one: say with --mount what of that path \
                 stands before the token, which is all of it if the token is in the query or the user"
                    .to_owned(),
            );
        }
        let has_secret = rules.conceal_record(self.path.as_bytes()) != self.path.as_bytes();
        if has_secret || self.path.split('/').any(|segment| rules.is_token(segment)) {
            return Err("--mount has a token of --access in it: end it before that".to_owned());
        }
        Ok(())
    }
}

/// Returns the `path` of a request in the spelling of the mount. A path with `..` never reaches the mount and stays as
/// sent.
pub(crate) fn spelled(path: &str) -> Cow<'_, str> {
    if path.split('/').any(|segment| normalize_path(segment) == "..") {
        return path.into();
    }
    normalize_path(path)
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mount").field(&self.shown()).finish()
    }
}

/// What of `url`, a path, stands behind `mount`; none if it does not begin so.
fn behind<'a>(url: &'a str, mount: &str) -> Option<&'a str> {
    let rest = url.strip_prefix(mount.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// Whether `segment`, of a path, looks like a token: letters and digits stand among each other, as in no word.
pub(crate) fn looks_secret(segment: &str) -> bool {
    let letters = segment.as_bytes();
    let turns = letters.iter().zip(letters.iter().skip(1)).filter(|(one, next)| {
        let pair = [one, next];
        pair.iter().any(|letter| letter.is_ascii_digit()) && pair.iter().any(|letter| letter.is_ascii_alphabetic())
    });
    segment.len() >= 8 && turns.count() >= 3
}

#[cfg(test)]
mod tests {
    use kazoo_storage::Credential;

    use super::*;

    const HEX: &str = "1f0e6b9c7d2a4835b6c1d0e9f8a7b6c5";

    fn settings(path: &str) -> KazooSettings {
        KazooSettings::from_json(&format!(r#"{{"url":"http://h.example.com{path}","verb":"put"}}"#)).unwrap()
    }

    #[test]
    fn a_token_is_told_from_a_word() {
        for token in [HEX, "fI6n-3Qc", "5d9e3f70", "archive-5d9e3f70"] {
            assert!(looks_secret(token), "{token}");
        }
        for word in [
            "",
            "v2",
            "some_prefix",
            "storage2",
            "files2024",
            "Voicemail2024",
            "kazoo-2024-recordings",
            "1234567890",
        ] {
            assert!(!looks_secret(word), "{word}");
        }
    }

    #[test]
    fn what_nobody_would_call_a_directory_is_not_shown() {
        for (path, shown) in [
            ("/", "/"),
            ("/some_prefix", "/some_prefix"),
            (
                "/kazoo/files2024/VoicemailRecordings",
                "/kazoo/files2024/VoicemailRecordings",
            ),
            (&format!("/some_prefix/{HEX}"), "/some_prefix/***"),
            (&format!("/{HEX}/files"), "/***/files"),
            ("/p/fI6n-3Qc", "/p/***"),
        ] {
            for mount in [Mount::new(Some(path), None), Mount::new(None, Some(&settings(path)))] {
                let mount = mount.unwrap();
                assert_eq!((mount.path(), &*mount.shown()), (path, shown));
                assert_eq!(mount.is_masked(), path != shown, "{path}");
            }
        }
    }

    #[test]
    fn what_is_not_shown_of_the_mount_is_shown_of_no_request() {
        let whole = format!("/p/{HEX}");
        let copied = Mount::new(Some(&whole), None).unwrap();
        // Whatever is behind a mount that is said is the token, however it looks.
        let before = Mount::new(Some("/p"), Some(&settings(&whole))).unwrap();
        let short = Mount::new(Some("/p"), Some(&settings("/p/system_data"))).unwrap();
        for (mount, path, shown) in [
            (&copied, format!("{whole}/Anna"), "/p/***/…"),
            (&copied, format!("/other/{HEX}/Anna"), "/…/***/…"),
            (&before, format!("{whole}/Anna"), "/p/***/…"),
            (
                &short,
                "/p/system_data/system_data.mp3".to_owned(),
                "/p/***/system_data.mp3",
            ),
        ] {
            assert_eq!(mount.mask(&path), shown, "{path}");
        }
    }

    #[test]
    fn a_mount_ends_before_a_token() {
        let rules = AccessRules::new().credential(Credential::token("hush"));
        let rules = rules.credential(Credential::token("fI6n-3Qc"));
        let networks = AccessRules::new().networks(["10.0.0.0/8"]).unwrap();
        let url = settings("/p/hush");
        for (asked, from, suits) in [
            (None, None, true),
            (Some("/p"), None, true),
            (Some("/p"), Some(&url), true),
            (Some("/p/hush"), None, false),
            (Some("/p/h%75sh/q"), None, false),
            (Some("/files-fI6n-3Qc.d"), None, false),
            (Some("/files-hushed"), None, true),
            (Some("/p/hush"), Some(&url), false),
            (None, Some(&url), false),
        ] {
            let mount = Mount::new(asked, from).unwrap();
            assert_eq!(mount.suits(&rules).is_ok(), suits, "{mount:?}");
            assert!(mount.suits(&networks).is_ok(), "{mount:?}");
        }
    }
}
