//! Escaping of the values that KAZOO inserts into a URL.

use std::fmt::Write as _;

use super::dialect::Escaping;

/// Escapes a part of a name.
pub(super) fn part(text: &str, escaping: Escaping) -> String {
    match escaping {
        Escaping::Uri => escape(text, |letter| !";:@&=+,/?#[]<>\"{}|\\'^% ".contains(letter)),
        Escaping::Form => form(text),
    }
}

/// Escapes a query value as in a form: everything but letters, digits and `-._~`, with `+` for a space.
pub(super) fn form(text: &str) -> String {
    escape(text, |letter| {
        letter.is_ascii_alphanumeric() || "-._~ ".contains(letter)
    })
    .replace(' ', "+")
}

fn escape(text: &str, is_plain: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut utf8 = [0; 4];
    for letter in text.chars() {
        if is_plain(letter) {
            escaped.push(letter);
            continue;
        }
        for byte in letter.encode_utf8(&mut utf8).bytes() {
            // Writing to a `String` does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_only_url_characters_of_a_name() {
        let part = |text| part(text, Escaping::Uri);
        assert_eq!(part("my voice/50%.mp3"), "my%20voice%2F50%25.mp3");
        assert_eq!(part("!$()*~`-._ü"), "!$()*~`-._ü");
        assert_eq!(
            part("a;b=c&d?e#f'\"\\^|{}<>[],+@:"),
            "a%3Bb%3Dc%26d%3Fe%23f%27%22%5C%5E%7C%7B%7D%3C%3E%5B%5D%2C%2B%40%3A"
        );
    }

    #[test]
    fn escapes_all_but_unreserved_characters_of_a_name_as_a_form_does() {
        let part = |text| part(text, Escaping::Form);
        assert_eq!(part("my voice/50%.mp3"), "my+voice%2F50%25.mp3");
        assert_eq!(part("!$()*~`-._ü+"), "%21%24%28%29%2A~%60-._%C3%BC%2B");
    }

    #[test]
    fn escapes_a_value_as_in_a_form() {
        assert_eq!(form("Jörg \"JD\" O'Neil & Co"), "J%C3%B6rg+%22JD%22+O%27Neil+%26+Co");
        assert_eq!(form("a-b._~*!+"), "a-b._~%2A%21%2B");
    }
}
