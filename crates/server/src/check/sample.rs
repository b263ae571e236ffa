//! [`Sample`]: the files that are tried, as a table.

use kazoo_storage::Result;
use kazoo_storage_client::{Attachment, Document};

/// A file that is stored and fetched in every way.
#[derive(Debug)]
pub(crate) struct Sample {
    /// What it is, in words.
    pub(crate) what: &'static str,
    name: &'static str,
    len: Len,
    /// Whether its document has an owner, whose id is then a segment of the path.
    owned: bool,
    /// Whether it is stored once more, as KAZOO does when it missed the first answer.
    pub(crate) twice: bool,
    pub(crate) odd: Odd,
}

#[derive(Clone, Copy, Debug)]
enum Len {
    Bytes(usize),
    Large,
}

/// What sets a file apart, if only files such as it fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    Nothing,
    Empty,
    Long,
    /// Its name has what must be escaped.
    Escaped,
    /// Its name has what KAZOO does not escape, though it should.
    Unescaped,
}

const PLAIN: Sample = Sample {
    what: "a small file",
    name: "message.mp3",
    len: Len::Bytes(4321),
    owned: false,
    twice: false,
    odd: Odd::Nothing,
};

/// The first is the plainest: where that fails, the others say nothing new.
#[rustfmt::skip]
pub(crate) const SAMPLES: &[Sample] = &[
    PLAIN,
    Sample { what: "an empty file", name: "empty.mp3", len: Len::Bytes(0), odd: Odd::Empty, ..PLAIN },
    Sample { what: "64 KiB less one byte", name: "below.mp3", len: Len::Bytes(0xffff), odd: Odd::Long, ..PLAIN },
    Sample { what: "64 KiB", name: "even.mp3", len: Len::Bytes(0x1_0000), odd: Odd::Long, ..PLAIN },
    Sample { what: "64 KiB and one byte", name: "above.mp3", len: Len::Bytes(0x1_0001), odd: Odd::Long, ..PLAIN },
    Sample { what: "a file with an owner", name: "owned.mp3", owned: true, ..PLAIN },
    Sample { what: "a name with `/`, `%` and spaces", name: "fax 1/2 + 50%.tiff", odd: Odd::Escaped, ..PLAIN },
    Sample { what: "a name outside of ASCII", name: "größe-声.mp3", odd: Odd::Unescaped, ..PLAIN },
    Sample { what: "the same file twice", name: "twice.mp3", twice: true, ..PLAIN },
    Sample { what: "a long file", name: "long.wav", len: Len::Large, odd: Odd::Long, ..PLAIN },
];

/// The name of this sample's document in every check, so that a check leaves no more behind than the last one did.
pub(crate) fn attachment(sample: &Sample, account: &str, large: usize, token: u64) -> Result<Attachment> {
    let number = SAMPLES.iter().position(|other| other.name == sample.name);
    let owner = if sample.owned {
        format!(r#","owner_id":"c4ec{:028x}""#, 1)
    } else {
        String::new()
    };
    let document = document(number.unwrap_or_default(), &owner)?;
    let len = match sample.len {
        Len::Bytes(len) => len,
        Len::Large => large,
    };
    Ok(Attachment::new(account, document, sample.name, content(len, token)))
}

/// The prefix of the check's document ids.
pub(crate) const DOCUMENT: &str = "202001-c4ec";

/// A document as that of a message, with an id of its own.
pub(crate) fn document(number: usize, more: &str) -> Result<Document> {
    Document::from_json(&format!(
        r#"{{"_id":"{DOCUMENT}{number:028x}","name":"kazoo-storage check","folder":"new"{more}}}"#
    ))
}

/// Bytes that no other `token` has.
pub(crate) fn content(len: usize, token: u64) -> Vec<u8> {
    let mut state = token | 1;
    let mut content = Vec::with_capacity(len + 8);
    while content.len() < len {
        // Xorshift: nothing to compress, and nothing to take for text.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    content.truncate(len);
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_content_is_its_own() {
        assert_eq!(content(11, 8).len(), 11);
        assert_eq!(content(100, 8), content(100, 8));
        assert_ne!(content(100, 8), content(100, 10));
    }

    #[test]
    fn every_sample_has_a_name_of_its_own() {
        for (number, sample) in SAMPLES.iter().enumerate() {
            let made = attachment(sample, "ACC", 1, 1).unwrap();
            assert!(made.document().id().unwrap().ends_with(&format!("{number:04x}")));
        }
    }
}
