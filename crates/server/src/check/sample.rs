//! [`Sample`]: the files that a check stores and fetches, as a table.

use kazoo_storage::Result;
use kazoo_storage_client::{Attachment, Document};

/// A file that is stored and fetched in every scenario.
#[derive(Debug)]
pub(crate) struct Sample {
    /// In words.
    pub(crate) description: &'static str,
    name: &'static str,
    len: Len,
    /// `true` if the document has an owner, whose id becomes a segment of the path.
    owned: bool,
    /// `true` to store the file twice, as KAZOO does if it missed the first response.
    pub(crate) stored_twice: bool,
    pub(crate) quirk: Quirk,
}

#[derive(Clone, Copy, Debug)]
enum Len {
    Bytes(usize),
    Large,
}

/// A property that may cause only some files to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quirk {
    None,
    Empty,
    Large,
    /// The name has characters that must be escaped.
    Escaped,
    /// The name has characters outside ASCII, which KAZOO does not escape.
    NonAscii,
}

const PLAIN: Sample = Sample {
    description: "a small file",
    name: "message.mp3",
    len: Len::Bytes(4321),
    owned: false,
    stored_twice: false,
    quirk: Quirk::None,
};

/// The first has no quirk: if it fails, the others would fail for the same reason.
#[rustfmt::skip]
pub(crate) const SAMPLES: &[Sample] = &[
    PLAIN,
    Sample { description: "an empty file", name: "empty.mp3", len: Len::Bytes(0), quirk: Quirk::Empty, ..PLAIN },
    Sample { description: "64 KiB minus one byte", name: "below.mp3", len: Len::Bytes(0xffff), quirk: Quirk::Large, ..PLAIN },
    Sample { description: "64 KiB", name: "even.mp3", len: Len::Bytes(0x1_0000), quirk: Quirk::Large, ..PLAIN },
    Sample { description: "64 KiB plus one byte", name: "above.mp3", len: Len::Bytes(0x1_0001), quirk: Quirk::Large, ..PLAIN },
    Sample { description: "a file with an owner", name: "owned.mp3", owned: true, ..PLAIN },
    Sample { description: "a name with `/`, `%` and spaces", name: "fax 1/2 + 50%.tiff", quirk: Quirk::Escaped, ..PLAIN },
    Sample { description: "a name outside ASCII", name: "größe-声.mp3", quirk: Quirk::NonAscii, ..PLAIN },
    Sample { description: "the same file stored twice", name: "twice.mp3", stored_twice: true, ..PLAIN },
    Sample { description: "a large file", name: "long.wav", len: Len::Large, quirk: Quirk::Large, ..PLAIN },
];

/// Creates the file. Its name is the same in every check, so that repeated checks leave no more files behind.
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

/// Creates a document like that of a message, with its own id.
pub(crate) fn document(number: usize, more: &str) -> Result<Document> {
    Document::from_json(&format!(
        r#"{{"_id":"{DOCUMENT}{number:028x}","name":"kazoo-storage check","folder":"new"{more}}}"#
    ))
}

/// Generates content that is unique to `token`.
pub(crate) fn content(len: usize, token: u64) -> Vec<u8> {
    let mut state = token | 1;
    let mut content = Vec::with_capacity(len + 8);
    while content.len() < len {
        // Xorshift: incompressible, and not text.
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
    fn content_is_unique_to_its_token() {
        assert_eq!(content(11, 8).len(), 11);
        assert_eq!(content(100, 8), content(100, 8));
        assert_ne!(content(100, 8), content(100, 10));
    }

    #[test]
    fn every_sample_has_its_own_name() {
        for (number, sample) in SAMPLES.iter().enumerate() {
            let made = attachment(sample, "ACC", 1, 1).unwrap();
            assert!(made.document().id().unwrap().ends_with(&format!("{number:04x}")));
        }
    }
}
