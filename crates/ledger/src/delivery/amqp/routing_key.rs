//! The routing key of an event.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{delivery::cloud_event, event::Event};

/// The characters of an account that are encoded, a dot included: it would begin another word.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// Stands for no account.
const NONE: &str = "-";

/// Maximum length of an account in a routing key, in bytes. AMQP limits the key to 255.
const MAX_ACCOUNT: usize = 200;

/// Returns the type of `event` and its account, such as `kazoo_storage.file.stored.0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7`.
pub(super) fn routing_key(event: &Event) -> String {
    format!("{}.{}", cloud_event::kind(event), word(event.file.key.account_id()))
}

/// Returns one word for `account`: percent-encoded, and `-` for none or a longer one.
fn word(account: Option<&str>) -> String {
    let account = account.unwrap_or_default();
    match utf8_percent_encode(account, ENCODED).to_string() {
        word if word.is_empty() || word.len() > MAX_ACCOUNT => NONE.to_owned(),
        word if word == NONE => "%2D".to_owned(),
        word => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_one_word() {
        let longest = "a".repeat(MAX_ACCOUNT);
        for (account, expected) in [
            (
                Some("0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7"),
                "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7",
            ),
            (Some("acme.example.com"), "acme%2Eexample%2Ecom"),
            (Some("a *#ä"), "a%20%2A%23%C3%A4"),
            (Some("-"), "%2D"),
            (Some("a-b_c~d"), "a-b_c~d"),
            (Some(&longest), &longest),
            (Some(&format!("{longest}a")), "-"),
            (Some(&"ä".repeat(50)), "-"),
            (None, "-"),
        ] {
            assert_eq!(word(account), expected, "{account:?}");
        }
    }
}
