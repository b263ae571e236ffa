//! What of a name may stand in a log.
//!
//! `field_list` can put any field of a document into a file's name, callers' names and numbers too, and a person's name may
//! be that of an upload. So a name is shown by what it is, wherever it stands: ids and the words that KAZOO makes file names
//! of are, all else is not.

use http::Method;

/// What KAZOO itself puts in names.
const WORDS: [&str; 8] = [
    "call_recording",
    "fax_file",
    "original_file",
    "pdf_file",
    "received_file",
    "system_data",
    "test_credentials_file",
    "unknown_account",
];

const EXTENSIONS: [&str; 15] = [
    "doc", "docx", "gif", "jpeg", "jpg", "mov", "mp3", "mp4", "ogg", "pdf", "png", "tiff", "txt", "wav", "webm",
];

/// What stands for a secret already.
const REDACTED: &str = "***";

const HIDDEN: char = '…';

/// `path`, or a key, as it may be shown. It may be percent-encoded.
pub(crate) fn path(path: &str) -> String {
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// `path` as it may be shown, with the `mount` in front of it, if it is.
pub(crate) fn below(mount: &str, whole: &str) -> String {
    let mount = mount.trim_end_matches('/');
    match whole.strip_prefix(mount) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => mount.to_owned() + &path(rest),
        _ => path(whole),
    }
}

/// `path`, or a key, without the segments that are secret.
pub(crate) fn redacted(path: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let shown = path
        .split('/')
        .map(|segment| if is_secret(segment) { REDACTED } else { segment });
    shown.collect::<Vec<_>>().join("/")
}

/// `message` as it may be shown: what it quotes are names, but for those of headers, settings and flags. If it is `about_names`
/// there are no others.
pub(crate) fn message(message: &str, about_names: bool) -> String {
    let plain = |quoted: &str| {
        let word = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'_' | b',' | b' ');
        !about_names && quoted.bytes().all(word)
    };
    let mut shown = String::new();
    for (index, part) in message.split('`').enumerate() {
        if index > 0 {
            shown.push('`');
        }
        if index % 2 == 0 || plain(part) {
            shown.push_str(part);
        } else {
            shown.push_str(&path(part));
        }
    }
    shown
}

/// `method` as it may be shown: a client may make one up.
pub(crate) fn method(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::PUT | Method::POST | Method::DELETE | Method::OPTIONS => method.as_str(),
        _ => "OTHER",
    }
}

/// Whether `text` is the id of an account, or what stands in its place.
pub(crate) fn is_account(text: &str) -> bool {
    id_len(text) == Some(text.len()) || matches!(text, "system_data" | "unknown_account")
}

fn segment(text: &str) -> String {
    if text == REDACTED {
        return text.to_owned();
    }
    let (stem, extension) = match text.rsplit_once('.') {
        Some((stem, extension)) if EXTENSIONS.contains(&extension) => text.split_at(stem.len()),
        _ => (text, ""),
    };
    let mut shown = String::new();
    let mut hidden = String::new();
    let mut rest = stem;
    let mut starts = true;
    while !rest.is_empty() {
        let known = starts.then(|| id_len(rest).or_else(|| word_len(rest))).flatten();
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

/// Hides what is not a mere separator.
fn hide(shown: &mut String, hidden: &mut String) {
    if hidden.bytes().all(|byte| matches!(byte, b'-' | b'_')) {
        shown.push_str(hidden);
    } else {
        shown.push(HIDDEN);
    }
    hidden.clear();
}

/// The length of the id that `text` begins with: 32 hexadecimal digits, behind a month for documents of one.
fn id_len(text: &str) -> Option<usize> {
    let month = match text.split_once('-') {
        Some((month, _)) if month.len() == 6 && month.bytes().all(|byte| byte.is_ascii_digit()) => "YYYYMM-".len(),
        _ => 0,
    };
    let rest = text.get(month..)?;
    let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
    let ends = rest
        .get(digits..)?
        .chars()
        .next()
        .is_none_or(|letter| !letter.is_alphanumeric());
    (digits == 32 && ends).then_some(month + digits)
}

fn word_len(text: &str) -> Option<usize> {
    let word = WORDS.into_iter().find(|word| text.starts_with(word))?;
    Some(word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

    #[test]
    fn ids_and_the_words_of_kazoo_are_shown() {
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
    fn all_else_is_not() {
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
    fn the_mount_is_the_operators_own() {
        assert_eq!(below("/some_prefix", "/some_prefix/Anna"), "/some_prefix/…");
        assert_eq!(below("/some_prefix/", "/some_prefix"), "/some_prefix");
        assert_eq!(below("/some_prefix", "/some_prefix_of_anna/x"), "/…/…");
        assert_eq!(below("/", "/Anna/x"), "/…/…");
    }

    #[test]
    fn a_message_keeps_its_words_and_hides_its_names() {
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
    fn accounts() {
        assert!(is_account(ID) && is_account("system_data"));
        assert!(!is_account("+4930123456") && !is_account("") && !is_account(&format!("{ID}.mp3")));
    }
}
