//! Text from outside, such as names and answers, on the terminal of the operator.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write as _},
};

use serde_json::Value;

/// Returns `text` with the characters escaped that could change what a terminal shows beside the text itself.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |_| 0)
}

/// Returns `text`, whose lines stay lines.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |rest| usize::from(rest.starts_with('\n')))
}

/// Returns `text`, whose colors stay colors.
pub(crate) fn printable_colors(text: &str) -> Cow<'_, str> {
    escaped(text, |rest| {
        let Some(code) = rest.strip_prefix("\x1b[") else {
            return 0;
        };
        let end = code.find(|letter: char| !letter.is_ascii_digit() && letter != ';');
        end.filter(|end| code.as_bytes().get(*end) == Some(&b'm'))
            .map_or(0, |end| "\x1b[".len() + end + 1)
    })
}

/// Returns `json`, which is one line, with the characters escaped that [`printable`] escapes. Its values stay the same,
/// because such characters occur in strings only.
pub(crate) fn printable_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for letter in json.chars() {
        if is_unsafe(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Prints the error of a command on stderr.
pub(crate) fn complain(error: &str) {
    eprintln!("kazoo-storage: {}", printable(error));
}

/// Prints a line for people on stdout. A reader that has seen enough is no error.
pub(crate) fn print(line: &str) -> Result<(), String> {
    print_lines(&format!("{}\n", printable(line))).map(drop)
}

/// Returns a line of JSON for each of `values`.
pub(crate) fn json_lines(values: &[Value]) -> String {
    values.iter().fold(String::new(), |lines, value| {
        lines + &printable_json(&value.to_string()) + "\n"
    })
}

/// Prints JSON as a line on stdout. A reader that has seen enough is no error.
pub(crate) fn print_json(json: &str) -> Result<(), String> {
    print_lines(&(printable_json(json) + "\n")).map(drop)
}

/// Prints `lines` on stdout. Returns `false` if the reader has seen enough.
pub(crate) fn print_lines(lines: &str) -> Result<bool, String> {
    match io::stdout().write_all(lines.as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(format!("cannot write to stdout: {error}")),
    }
}

/// Escapes `text`, except for the beginnings of a rest whose length `kept` returns.
fn escaped(text: &str, kept: impl Fn(&str) -> usize) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(is_unsafe) {
        let (before, after) = rest.split_at(at);
        shown.push_str(before);
        let letter = after.chars().next();
        let (keep, behind) = after.split_at(kept(after));
        shown.push_str(keep);
        rest = behind;
        if let (true, Some(letter)) = (keep.is_empty(), letter) {
            let _ = write!(shown, "{}", letter.escape_default());
            rest = behind.get(letter.len_utf8()..).unwrap_or_default();
        }
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// Returns `true` if `letter` controls the terminal, ends the line, or changes the direction of the text behind it.
fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_controls_a_terminal() {
        for (text, shown) in [
            ("Ünal 日本 \\ 👩‍👩‍👧", "Ünal 日本 \\ 👩‍👩‍👧"),
            ("a\u{1b}]0;x\u{7}b", "a\\u{1b}]0;x\\u{7}b"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("a\u{202e}gpj.exe\u{2066}", "a\\u{202e}gpj.exe\\u{2066}"),
            ("\r\n\t\u{2028}", "\\r\\n\\t\\u{2028}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn escapes_json_whose_value_stays_the_same() {
        let value = serde_json::json!({"\u{202e}a": ["\u{9b}31m\u{7f}\u{2028}", "\\\u{85}\"\n\u{1b}", "Ünal 日本 👩‍👩‍👧"]});
        let shown = printable_json(&value.to_string());
        assert_eq!(
            shown,
            r#"{"\u202ea":["\u009b31m\u007f\u2028","\\\u0085\"\n\u001b","Ünal 日本 👩‍👩‍👧"]}"#
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn keeps_lines_or_colors() {
        assert_eq!(printable_lines("a\n\rb\u{1b}[1m\n"), "a\n\\rb\\u{1b}[1m\n");
        assert_eq!(
            printable_colors("\u{1b}[1;31ma\u{1b}[0m\n"),
            "\u{1b}[1;31ma\u{1b}[0m\\n"
        );
        for not_a_color in ["\u{1b}[2J", "\u{1b}[1;", "\u{1b}[", "\u{1b}m", "\u{1b}"] {
            assert_eq!(printable_colors(not_a_color), not_a_color.replace('\u{1b}', "\\u{1b}"));
        }
    }
}
