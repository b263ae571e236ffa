//! Redaction: the parts of requests, and of messages about them, that the log may show.
//!
//! `field_list` can put any field of a document into a file's name, including callers' names and numbers, and users choose
//! the names of uploads. The log therefore shows only some parts of a name, wherever it appears: ids, and the words that
//! KAZOO builds file names from. Secrets of the access rules and of the mount are hidden everywhere.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use http::Method;
use kazoo_storage::{
    authorize::SharedAccessRules,
    kazoo_id::{ACCOUNT_PLACEHOLDERS, ATTACHMENT_NAMES, EXTENSIONS, prefix_len},
    normalize::normalize_path,
};

/// The replacement for a secret, also in the library.
const REDACTED: &str = "***";

/// The replacement for a name.
const HIDDEN: char = '…';

/// Redacts the parts of requests to one mount.
#[derive(Clone)]
pub(crate) struct Redactor {
    mount: Arc<str>,
    /// Normalized path segments.
    secrets: Arc<[String]>,
    access: Option<SharedAccessRules>,
    /// The path of the webhook for deletions, below which there is a secret.
    webhook: Option<Arc<str>>,
}

impl Redactor {
    /// Creates a redactor for requests to `mount`, which hides the path segments `secrets` and those of `access`.
    pub(crate) fn new(mount: &str, secrets: &[String], access: Option<SharedAccessRules>) -> Self {
        Self {
            mount: mount.into(),
            secrets: secrets.into(),
            access,
            webhook: None,
        }
    }

    /// Hides everything below this normalized path.
    pub(crate) fn webhook(mut self, path: Option<&str>) -> Self {
        self.webhook = path.map(Into::into);
        self
    }

    /// Returns the path of a request for the log.
    pub(crate) fn path(&self, path: &str) -> String {
        let path = spelled(path);
        if let Some(webhook) = self.webhook.as_deref()
            && let Some(rest) = path.strip_prefix(webhook)
        {
            match rest.split_once('/') {
                None if rest.is_empty() => return webhook.to_owned(),
                Some(("", _)) => return format!("{webhook}/{REDACTED}"),
                _ => {}
            }
        }
        let path = match &self.access {
            Some(rules) => Cow::Owned(rules.current().redact_path(&self.mount, &path).into_owned()),
            None => path,
        };
        let mount = secrets(&self.mount, &self.secrets);
        below(&mount, &secrets(&path, &self.secrets))
    }

    /// Returns `text`, such as a key or a part of one, without secrets.
    pub(crate) fn value(&self, text: &str) -> String {
        let shown = secrets(text, &self.secrets);
        match &self.access {
            Some(rules) => rules.current().redact(&shown).into_owned(),
            None => shown,
        }
    }
}

/// The access rules whose secrets [`record`] removes. The process has a single set of rules.
static RULES: OnceLock<SharedAccessRules> = OnceLock::new();

/// Removes the secrets of `rules` from every log record from now on.
pub(crate) fn conceal(rules: &SharedAccessRules) {
    let _ = RULES.set(rules.clone());
}

/// Returns a complete log record without secrets.
pub(super) fn record(record: &[u8]) -> Cow<'_, [u8]> {
    match RULES.get() {
        Some(rules) => rules.current().redact_record(record),
        None => record.into(),
    }
}

/// Returns `path`, or a key, without names. It may be percent-encoded.
pub(crate) fn path(path: &str) -> String {
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Returns `path` without names. If it begins with `mount`, that part stays unchanged.
fn below(mount: &str, whole: &str) -> String {
    let mount = mount.trim_end_matches('/');
    match whole.strip_prefix(mount) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => mount.to_owned() + &path(rest),
        _ => path(whole),
    }
}

/// Returns `path`, or a key, without the segments that are among `secrets`, which are normalized.
pub(crate) fn secrets(path: &str, secrets: &[String]) -> String {
    let shown = path.split('/').map(|segment| {
        let is_secret = secrets.iter().any(|secret| *secret == normalize_path(segment));
        if is_secret { REDACTED } else { segment }
    });
    shown.collect::<Vec<_>>().join("/")
}

/// Returns the `path` of a request in the spelling of the mount. A path with `..` never reaches the mount and stays as
/// sent.
fn spelled(path: &str) -> Cow<'_, str> {
    if path.split('/').any(|segment| normalize_path(segment) == "..") {
        return path.into();
    }
    normalize_path(path)
}

/// Returns `true` if `segment`, of a path, looks like a token: letters and digits alternate in it, which they do in no word.
pub(crate) fn looks_secret(segment: &str) -> bool {
    let letters = segment.as_bytes();
    let turns = letters.iter().zip(letters.iter().skip(1)).filter(|(one, next)| {
        let pair = [one, next];
        pair.iter().any(|letter| letter.is_ascii_digit()) && pair.iter().any(|letter| letter.is_ascii_alphabetic())
    });
    segment.len() >= 8 && turns.count() >= 3
}

/// Returns `message` without the names that it quotes. Quoted headers, settings and flags stay, unless `about_names`
/// says that every quote is a name.
pub(crate) fn message(message: &str, about_names: bool) -> String {
    let plain = |quoted: &str| {
        let word = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'_' | b',' | b' ');
        !about_names && quoted.bytes().all(word)
    };
    let parts = message.split('`').enumerate().map(|(index, part)| {
        let is_shown = index % 2 == 0 || plain(part);
        if is_shown { part.to_owned() } else { path(part) }
    });
    parts.collect::<Vec<_>>().join("`")
}

/// Returns the name of `method`, or `OTHER`: a client may invent one.
pub(crate) fn method(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::PUT | Method::POST | Method::DELETE | Method::OPTIONS => method.as_str(),
        _ => "OTHER",
    }
}

/// Returns `true` if `text` is the id of an account or one of its substitutes.
pub(crate) fn is_account(text: &str) -> bool {
    prefix_len(text) == Some(text.len()) || ACCOUNT_PLACEHOLDERS.contains(&text)
}

fn segment(text: &str) -> String {
    if text == REDACTED {
        return text.to_owned();
    }
    let (stem, extension) = match text.rsplit_once('.') {
        Some((stem, extension)) if is_extension(extension) => text.split_at(stem.len()),
        _ => (text, ""),
    };
    let mut shown = String::new();
    let mut hidden = String::new();
    let mut rest = stem;
    let mut starts = true;
    while !rest.is_empty() {
        let known = starts.then(|| prefix_len(rest).or_else(|| word_len(rest))).flatten();
        let escape = rest.strip_prefix('%').and_then(|rest| rest.get(..2)).is_some();
        let first = rest.chars().next().map_or(1, char::len_utf8);
        let (next, behind) = rest.split_at(known.unwrap_or(if escape { 3 } else { first }));
        if known.is_some() {
            hide(&mut shown, &mut hidden);
            shown.push_str(next);
            starts = true;
        } else {
            hidden.push_str(next);
            starts = escape || !next.chars().all(char::is_alphanumeric);
        }
        rest = behind;
    }
    hide(&mut shown, &mut hidden);
    shown + extension
}

/// Appends `hidden` to `shown`, unchanged if it consists of separators and as an ellipsis otherwise, and clears it.
fn hide(shown: &mut String, hidden: &mut String) {
    if hidden.bytes().all(|byte| matches!(byte, b'-' | b'_')) {
        shown.push_str(hidden);
    } else {
        shown.push(HIDDEN);
    }
    hidden.clear();
}

fn is_extension(text: &str) -> bool {
    EXTENSIONS.iter().any(|(extension, _)| *extension == text)
}

fn word_len(text: &str) -> Option<usize> {
    let mut words = ATTACHMENT_NAMES.iter().chain(&ACCOUNT_PLACEHOLDERS);
    let word = words.find(|word| text.starts_with(**word))?;
    Some(word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

    #[test]
    fn shows_ids_and_the_words_of_kazoo() {
        for shown in [
            String::new(),
            "/".to_owned(),
            format!("/{ID}/202401-{ID}/{ID}.mp3"),
            format!("{ID}-202401-{ID}-{ID}.mp3"),
            format!("/***/{ID}/{ID}_test_credentials_file.txt"),
            format!("system_data/{ID}/received_file_202401-{ID}.tiff"),
            format!("unknown_account/{ID}/fax_file.tiff"),
        ] {
            assert_eq!(path(&shown), shown);
        }
    }

    #[test]
    fn hides_names() {
        for (name, shown) in [
            ("Anna", "…"),
            ("anna", "…"),
            ("Dr.Anna", "…"),
            ("+4930123456", "…"),
            ("%2B4930123456.mp3", "….mp3"),
            ("call_recording_b3f6@10.0.0.5.mp3?from=+49", "call_recording…"),
            ("call_recording_+4930123456.mp3", "call_recording….mp3"),
            ("my voice mail.wav", "….wav"),
            ("Ünal/日本", "…/…"),
            ("%", "…"),
            ("%é", "…"),
            ("..", "…"),
            ("202401-4930123456", "…"),
            ("0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f70", "…"),
            ("x0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7", "…"),
        ] {
            assert_eq!(path(name), shown, "{name}");
        }
        let mixed = format!("a%2F{ID}%2FAnna");
        assert_eq!(path(&mixed), format!("…{ID}…"));
    }

    #[test]
    fn distinguishes_tokens_from_words() {
        for token in [
            "1f0e6b9c7d2a4835b6c1d0e9f8a7b6c5",
            "fI6n-3Qc",
            "5d9e3f70",
            "archive-5d9e3f70",
        ] {
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
    fn shows_the_mount() {
        assert_eq!(below("/some_prefix", "/some_prefix/Anna"), "/some_prefix/…");
        assert_eq!(below("/some_prefix/", "/some_prefix"), "/some_prefix");
        assert_eq!(below("/some_prefix", "/some_prefix_of_anna/x"), "/…/…");
        assert_eq!(below("/", "/Anna/x"), "/…/…");
    }

    #[test]
    fn hides_the_names_in_a_message() {
        let fields = "the query has no field `media_id, call_id`; `ANNA` is not supported";
        assert_eq!(
            message(fields, false),
            "the query has no field `media_id, call_id`; `…` is not supported"
        );
        let text = "`Anna/x` cannot be stored: `anna` is a stored file; mind `content-length`";
        assert_eq!(
            message(text, false),
            "`…/…` cannot be stored: `anna` is a stored file; mind `content-length`"
        );
        assert_eq!(
            message(text, true),
            "`…/…` cannot be stored: `…` is a stored file; mind `…`"
        );
        assert_eq!(message("one ` Alone", false), "one `…");
    }

    #[test]
    fn recognizes_accounts() {
        assert!(is_account(ID) && is_account("system_data"));
        assert!(!is_account("+4930123456") && !is_account("") && !is_account(&format!("{ID}.mp3")));
    }
}
