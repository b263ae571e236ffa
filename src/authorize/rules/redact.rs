//! [`Redactor`]: replaces secrets in text, however they are escaped.

use std::{fmt, ops::Range, sync::Arc};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

use super::prefix_filter::PrefixFilter;

/// The replacement for a secret.
pub(super) const REDACTED: &str = "***";

/// Minimum length of a secret that is redacted anywhere, in bytes. A shorter one may occur within other words by
/// chance, so it is redacted only as a whole word.
const MIN_DISTINCTIVE: usize = 8;

/// Finds secrets in text, regardless of how they are escaped.
///
/// Text and secrets are compared in a canonical form: without percent-encoding, of any depth and case, and without
/// the escapes of JSON strings and of Rust's `Debug`. One pass searches for all secrets.
#[derive(Clone, Default)]
pub(super) struct Redactor(Option<Arc<Patterns>>);

struct Patterns {
    /// `None` if it could not be built. Every text is then redacted as a whole.
    automaton: Option<AhoCorasick>,
    /// Indexed by the number of the pattern.
    kinds: Vec<Kind>,
    /// Most texts contain no secret. With many secrets, the automaton would take most of the time of a request to find that out.
    filter: PrefixFilter,
    /// A pattern is too short for the filter.
    has_short: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Shorter than [`MIN_DISTINCTIVE`].
    Short,
    /// Consists only of characters that also form the program's own words.
    Words,
    Distinctive,
}

impl Redactor {
    /// Redacts `plain` secrets as they are, and `encoded` ones, such as user and password, in base64.
    pub(super) fn new<'a>(plain: impl Iterator<Item = &'a str>, encoded: impl Iterator<Item = String>) -> Self {
        let encoded = encoded.flat_map(|text| [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)]);
        let patterns = plain.map(|secret| canonical(secret.as_bytes()));
        let patterns = patterns.chain(encoded.map(|text| canonical(text.as_bytes())));
        let mut patterns: Vec<Vec<u8>> = patterns
            .map(|text| text.bytes)
            .filter(|text| !text.is_empty())
            .collect();
        patterns.sort_unstable();
        patterns.dedup();
        if patterns.is_empty() {
            return Self::default();
        }
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .match_kind(MatchKind::Standard)
            .build(&patterns)
            .ok();
        let kinds: Vec<Kind> = patterns.iter().map(|pattern| Kind::of(pattern)).collect();
        let filter = PrefixFilter::new(&patterns);
        Self(Some(Arc::new(Patterns {
            automaton,
            has_short: kinds.contains(&Kind::Short),
            kinds,
            filter,
        })))
    }

    /// Redacts the secrets in `text`, a name or another value from a request; returns `None` if it contains none.
    pub(super) fn value(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.replaced(text, |_| true)
    }

    /// Redacts the secrets in `text`, which also contains the program's own words, except for those that could be such
    /// words; returns `None` if there is nothing to redact.
    pub(super) fn record(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.replaced(text, |kind| kind == Kind::Distinctive)
    }

    fn replaced(&self, text: &[u8], counts: impl Fn(Kind) -> bool) -> Option<Vec<u8>> {
        let Patterns {
            automaton,
            kinds,
            filter,
            has_short,
        } = &**self.0.as_ref()?;
        let Some(automaton) = automaton else {
            return Some(REDACTED.into());
        };
        let read = canonical(text);
        let may_match = *has_short && counts(Kind::Short) || filter.may_match(&read.bytes);
        if !may_match {
            return None;
        }
        let mut found: Vec<Range<usize>> = Vec::new();
        for secret in automaton.find_overlapping_iter(&read.bytes) {
            let kind = kinds.get(secret.pattern().as_usize()).copied();
            if kind.is_some_and(&counts) && (kind != Some(Kind::Short) || read.is_word(secret.range())) {
                found.extend(read.position(secret.range()));
            }
        }
        found.sort_unstable_by_key(|position| position.start);
        let mut shown = Vec::with_capacity(text.len());
        let mut end = 0;
        for position in &found {
            if position.start >= end {
                shown.extend_from_slice(text.get(end..position.start)?);
                shown.extend_from_slice(REDACTED.as_bytes());
            }
            end = end.max(position.end);
        }
        shown.extend_from_slice(text.get(end..)?);
        (!found.is_empty()).then_some(shown)
    }
}

impl Kind {
    fn of(pattern: &[u8]) -> Self {
        let is_letter = |byte: &u8| byte.is_ascii_lowercase() || b"_-: ".contains(byte);
        if pattern.len() < MIN_DISTINCTIVE {
            Self::Short
        } else if pattern.iter().all(is_letter) {
            Self::Words
        } else {
            Self::Distinctive
        }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

/// A decoded text, with the position of each byte in the original.
struct Canonical {
    bytes: Vec<u8>,
    positions: Vec<Range<usize>>,
}

impl Canonical {
    fn push(&mut self, byte: u8, position: Range<usize>) {
        self.bytes.push(byte);
        self.positions.push(position);
    }

    /// Returns the position of these bytes in the original text.
    fn position(&self, range: Range<usize>) -> Option<Range<usize>> {
        let (first, last) = (
            self.positions.get(range.start)?,
            self.positions.get(range.end.checked_sub(1)?)?,
        );
        Some(first.start..last.end)
    }

    /// Returns `true` if these bytes begin and end at word boundaries.
    fn is_word(&self, range: Range<usize>) -> bool {
        let is_letter = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let before = range.start.checked_sub(1).and_then(|before| self.bytes.get(before));
        !is_letter(before) && !is_letter(self.bytes.get(range.end))
    }
}

fn canonical(text: &[u8]) -> Canonical {
    let mut read = Canonical {
        bytes: Vec::with_capacity(text.len()),
        positions: Vec::with_capacity(text.len()),
    };
    // The start of the next escape, including the backslashes in front of it.
    let mut start = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (len, letter) = match rest {
            [b'%', escaped @ ..] => match percent(escaped) {
                Some((len, byte)) => (1 + len, Letter::Byte(byte)),
                None => (1, Letter::Byte(b'%')),
            },
            [b'\\', b'u', escaped @ ..] => match unicode(escaped) {
                Some((len, letter)) => (2 + len, Letter::Char(letter)),
                None => (1, Letter::Byte(b'\\')),
            },
            [byte, ..] => (1, Letter::Byte(*byte)),
            [] => break,
        };
        at += len;
        match letter {
            // The number of backslashes depends on how often the text was escaped.
            Letter::Byte(b'\\') => continue,
            // A space in form encoding.
            Letter::Byte(b'+') => read.push(b' ', start..at),
            Letter::Byte(byte) => read.push(byte, start..at),
            Letter::Char(letter) => {
                for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                    read.push(byte, start..at);
                }
            }
        }
        start = at;
    }
    read
}

enum Letter {
    Byte(u8),
    Char(char),
}

/// Decodes the byte after a `%`, percent-encoded once or several times; returns its encoded length and its value.
fn percent(text: &[u8]) -> Option<(usize, u8)> {
    let escape = |at: usize| {
        let digits = text.get(at..at + 2)?;
        u8::from_str_radix(str::from_utf8(digits).ok()?, 16)
            .ok()
            .filter(|_| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let mut at = 0;
    let mut byte = escape(at)?;
    while let (b'%', Some(inner)) = (byte, escape(at + 2)) {
        at += 2;
        byte = inner;
    }
    Some((at + 2, byte))
}

/// Decodes the character in `text` after `\u`: four digits in JSON, any number in braces in Rust.
fn unicode(text: &[u8]) -> Option<(usize, char)> {
    let (len, digits) = match text {
        [b'{', rest @ ..] => {
            let digits = rest.get(..rest.iter().take(7).position(|byte| *byte == b'}')?)?;
            (digits.len() + 2, digits)
        }
        _ => (4, text.get(..4)?),
    };
    let code = u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    Some((len, char::from_u32(code)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(secrets: &[&str], text: &str) -> String {
        let redactor = Redactor::new(
            secrets.iter().copied(),
            secrets.iter().map(|secret| format!("{secret}:")),
        );
        let shown = redactor.value(text.as_bytes());
        shown.map_or_else(|| text.to_owned(), |shown| String::from_utf8(shown).unwrap())
    }

    #[test]
    fn redacts_a_secret_in_every_spelling() {
        let long = "s3cr%t/\"é+\\x";
        for (secret, text, shown) in [
            ("fI6n-3Qc", "a fI6n-3Qc, xfI6n-3Qcx", "a ***, x***x"),
            ("fI6n-3Qc", "%66I6n%2d3Q%63.mp3 %66I6n%2D3Qc", "***.mp3 ***"),
            ("fI6n-3Qc", "/%2566I6n%25252D3Qc/%%66I6n-3Qc", "/***/%***"),
            ("fI6n-3Qc", "fI6n-3QcfI6n-3Qc fI6n-3Q", "****** fI6n-3Q"),
            ("fI6n-3Qc", r"\u0066I6n-\u{33}Qc", "***"),
            ("fI6n-3Qc", "Basic Zkk2bi0zUWM6", "Basic ***"),
            ("fI6n-3Qc", "%25 %zz % \\ \\u12", "%25 %zz % \\ \\u12"),
            (long, long, "***"),
            (long, &format!("{long:?}"), "\"***\""),
            (long, &serde_json::to_string(long).unwrap(), "\"***\""),
            (long, "s3cr%25t%2F%22%C3%A9%2B%5Cx", "***"),
            ("a secret one", "a+secret%20one", "***"),
            ("abcdefgh-1", "abcdefgh-abcdefgh-1", "abcdefgh-***"),
            // A short secret is redacted only as a whole word.
            ("hush", "/hush/%68ush.mp3 hush", "/***/***.mp3 ***"),
            ("hush", "hushed thush hush_x", "hushed thush hush_x"),
            ("%", "a%25b %25 % 50%", "a%25b *** *** 50%"),
        ] {
            assert_eq!(value(&[secret], text), shown, "{secret} in {text}");
        }
        // Overlapping secrets are redacted as one.
        assert_eq!(value(&["0123-abcd", "abcd-4567", "3-ab"], "x0123-abcd-4567x"), "x***x");
    }

    #[test]
    fn does_not_redact_ordinary_words_in_a_record() {
        let secrets = ["kazoo_storage", "hush", "fI6n-3Qc"];
        let redactor = Redactor::new(secrets.into_iter(), std::iter::empty());
        let shown = |text: &str| redactor.record(text.as_bytes());
        assert_eq!(shown("INFO kazoo_storage::request: hush"), None);
        assert_eq!(shown("hush fI6n-3Qc").unwrap(), b"hush ***");
        assert_eq!(Redactor::default().record(b"fI6n-3Qc"), None);
    }

    #[test]
    fn redacts_every_text_if_the_automaton_cannot_be_built() {
        let patterns = Patterns {
            automaton: None,
            kinds: Vec::new(),
            filter: PrefixFilter::default(),
            has_short: false,
        };
        let redactor = Redactor(Some(Arc::new(patterns)));
        for text in ["", "fI6n-3Qc", "a word"] {
            assert_eq!(redactor.value(text.as_bytes()).unwrap(), b"***", "{text}");
            assert_eq!(redactor.record(text.as_bytes()).unwrap(), b"***", "{text}");
        }
    }

    #[test]
    fn does_not_split_an_escape() {
        let text = serde_json::to_string(r#"\"fI6n-"3Qc"\"#).unwrap();
        let shown = value(&["fI6n-\"3Qc"], &text);
        assert!(serde_json::from_str::<String>(&shown).is_ok(), "{shown}");
        assert!(!shown.contains("3Qc"), "{shown}");
    }
}
