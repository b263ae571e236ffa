use std::fmt;

use http::request::Parts;

use crate::{
    error::{Error, ErrorKind, Result},
    extract_key::{KeyExtractor, MetadataKey, PathKey, QueryKey},
    kazoo_id,
    key::{BlobKey, Candidates},
};

/// The extractor for the keys that KAZOO makes with its settings: from the path after the mount, from a query
/// parameter, or, if every file has the same URL, from the metadata.
///
/// An upload with fewer segments than KAZOO makes with these settings is rejected, except for a direct recording
/// (`call_recording_ID.mp3`), which has separate settings.
#[derive(Clone)]
pub struct SettingsKey {
    source: Source,
    /// The minimum number of segments in a key.
    min_segments: usize,
}

#[derive(Clone)]
enum Source {
    Path(PathKey),
    Query(QueryKey),
    Metadata(MetadataKey),
}

impl SettingsKey {
    pub(super) fn path(min_segments: usize) -> Self {
        let source = Source::Path(PathKey);
        Self { source, min_segments }
    }

    pub(super) fn query(key: QueryKey, min_segments: usize) -> Self {
        let source = Source::Query(key);
        Self { source, min_segments }
    }

    pub(super) fn metadata(key: MetadataKey) -> Self {
        let source = Source::Metadata(key);
        Self {
            source,
            min_segments: 1,
        }
    }

    fn extractor(&self) -> &dyn KeyExtractor {
        match &self.source {
            Source::Path(key) => key,
            Source::Query(key) => key,
            Source::Metadata(key) => key,
        }
    }
}

impl KeyExtractor for SettingsKey {
    fn key(&self, request: &Parts) -> Result<BlobKey> {
        let key = self.extractor().key(request)?;
        let (len, min_segments) = (key.segments().len(), self.min_segments);
        if len < min_segments && !kazoo_id::is_direct_recording(key.attachment()) {
            return Err(Error::new(
                ErrorKind::InvalidKey,
                format!(
                    "the target has {len} segments, but KAZOO sends at least {min_segments} with this server's storage settings; rename a file \
                     called `..`, and if all uploads fail, start the server with KAZOO's settings"
                ),
            ));
        }
        Ok(key)
    }

    fn candidates(&self, request: &Parts) -> Result<Candidates> {
        self.extractor().candidates(request)
    }

    fn reads_metadata(&self) -> bool {
        self.extractor().reads_metadata()
    }
}

impl fmt::Debug for SettingsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::Path(_) => "SettingsKey::Path",
            Source::Query(_) => "SettingsKey::Query",
            Source::Metadata(_) => "SettingsKey::Metadata",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::KazooSettings;
    use crate::error::Result;

    fn read(list: &str, separator: &str) -> Result<KazooSettings> {
        let json = format!(
            r#"{{"url":"http://h/p","verb":"put","path":"in/x","field_list":{list},"field_separator":"{separator}"}}"#
        );
        KazooSettings::from_json(&json)
    }

    #[test]
    fn counts_the_segments_that_every_name_has() {
        for (list, separator, least) in [
            ("null", "/", 5),
            ("null", "-", 3),
            ("null", "%2F", 3),
            (r#"["a/b", {"arg":"id"}, {"field":"x"}, {"arg":"attachment"}]"#, "/", 6),
            (r#"[{"field":"_id"}, {"arg":"nope"}, {"arg":"attachment"}]"#, "/", 3),
            (r#"[{"arg":"id"}, {"group":[{"field":"x"}, {"field":"y"}]}]"#, "/", 3),
            (
                r#"[{"arg":"id"}, {"group":[{"field":"x"}, {"arg":"attachment"}]}]"#,
                "/",
                4,
            ),
            (r#"[{"arg":"id"}, {"group":["?", {"arg":"attachment"}]}, "x"]"#, "/", 3),
        ] {
            let settings = read(list, separator).unwrap();
            assert_eq!(settings.key.min_segments, least, "{list}, {separator}");
        }
    }

    #[test]
    fn refuses_a_name_that_ends_with_a_slash() {
        for list in [
            r#"[{"arg":"id"}, {"arg":"attachment"}, "/"]"#,
            r#"[{"arg":"id"}, {"group":[{"arg":"attachment"}, "/"]}]"#,
            r#"[{"arg":"id"}, {"arg":"attachment"}, "x/?y"]"#,
        ] {
            let error = read(list, "/").map(drop).unwrap_err();
            assert!(error.message().contains("end with a slash"), "{list}: {error}");
        }
        assert!(read(r#"["x/", {"arg":"id"}, {"arg":"attachment"}, "?y/"]"#, "/").is_ok());
    }
}
