//! Converts a [`BlobKey`] to the name of an object, and back.

use object_store::path::{Path, PathPart};
use percent_encoding::percent_decode_str;

use super::ObjectStoreBlobs;
use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
};

/// The maximum length of a name in the stores of S3, Google and Azure, in bytes.
const MAX_NAME_LEN: usize = 1024;

impl ObjectStoreBlobs {
    /// Returns the name of the object for `key`.
    ///
    /// [`PathPart`] also encodes `%`, so no two keys have the same name.
    pub(super) fn name(&self, key: &BlobKey) -> Result<Path> {
        let name = self.beneath(key.segments());
        let len = name.as_ref().len();
        if len > MAX_NAME_LEN {
            let message = format!(
                "the name is too long for an object store: {len} bytes, percent-encoded and with the prefix, of at \
                 most {MAX_NAME_LEN}; shorten the path or the file's name"
            );
            return Err(Error::new(ErrorKind::InvalidKey, message));
        }
        Ok(name)
    }

    /// Returns the key of the object `name`, or `None` if the object is not this store's.
    pub(super) fn key(&self, name: &Path) -> Option<BlobKey> {
        let parts = name.prefix_match(&self.prefix)?;
        let segments: Option<Vec<String>> = parts
            .map(|part| Some(percent_decode_str(part.as_ref()).decode_utf8().ok()?.into_owned()))
            .collect();
        let key = BlobKey::from_segments(segments?).ok()?;
        // `50%` of another program decodes to the key of `50%25`, which is another object.
        (self.name(&key).ok()? == *name).then_some(key)
    }

    /// Returns the name of these segments below the prefix.
    pub(super) fn beneath<'a>(&self, segments: impl Iterator<Item = &'a str>) -> Path {
        let encoded: Vec<String> = segments.map(encode).collect();
        let parts = encoded.iter().map(|part| {
            // It is already encoded.
            PathPart::parse(part).unwrap_or_else(|_| PathPart::from(&**part))
        });
        self.prefix.parts().chain(parts).collect()
    }

    /// Returns a name that no key has: in the name of a key, two digits follow every `%`.
    pub(super) fn reserved_name(&self, what: &str) -> Option<Path> {
        let part = PathPart::parse(what).ok()?;
        Some(self.prefix.parts().chain([part]).collect())
    }
}

fn encode(segment: &str) -> String {
    let mut encoded = PathPart::from(segment).as_ref().to_owned();
    // Azure drops a dot at the end, and would merge two objects.
    if encoded.ends_with('.') {
        encoded.pop();
        encoded.push_str("%2E");
    }
    encoded
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn store(prefix: &str) -> ObjectStoreBlobs {
        ObjectStoreBlobs::new(InMemory::new()).prefix(prefix.into())
    }

    #[test]
    fn names_map_back_to_their_keys() {
        for prefix in ["", "voicemail", "a b/%c"] {
            let store = store(prefix);
            for path in [
                "ACC/202401-DOC/voice mail.mp3",
                "ACC/50%25",
                "a%2Fb/..mp3/%7E%7Bx%7D",
                "%C3%BC/%E2%82%AC",
                ".hidden/%5C",
                "ACC/dot./...",
            ] {
                let key = BlobKey::from_path(path).unwrap();
                let name = store.name(&key).unwrap();
                assert!(name.as_ref().is_ascii(), "{name}");
                assert_eq!(store.key(&name), Some(key), "{name}");
            }
        }
    }

    #[test]
    fn ignores_names_of_other_programs() {
        let ours = store("p");
        for name in ["p", "q/a", "p/50%", "p/%41", "p/%check-1", "p/%FF", "p/dot."] {
            assert_eq!(ours.key(&Path::parse(name).unwrap()), None, "{name}");
        }
        let reserved = ours.reserved_name("%check-1").unwrap();
        assert_eq!(reserved.as_ref(), "p/%check-1");
    }

    #[test]
    fn refuses_a_name_that_is_too_long() {
        let long = "x".repeat(1000);
        let key = BlobKey::from_segments([&*long]).unwrap();
        assert!(store("").name(&key).is_ok());
        let error = store(&"p".repeat(30)).name(&key).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
        assert!(error.message().contains("1031 bytes"), "{error}");
        let key = BlobKey::from_segments(["é".repeat(500)]).unwrap();
        assert!(store("").name(&key).is_err(), "each byte is encoded as three");
    }
}
