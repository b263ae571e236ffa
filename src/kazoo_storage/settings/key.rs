use std::fmt;

use http::request::Parts;

use crate::{
    error::Result,
    extract_key::{KeyExtractor, MetadataKey, PathKey, QueryKey},
    key::{BlobKey, Candidates},
};

/// What says which file a request means, as the settings have it.
#[derive(Clone)]
#[non_exhaustive]
pub enum SettingsKey {
    /// The path behind the mount.
    Path(PathKey),
    /// A parameter of the query.
    Query(QueryKey),
    /// The metadata: the URL is the same for every file.
    Metadata(MetadataKey),
}

impl SettingsKey {
    fn extractor(&self) -> &dyn KeyExtractor {
        match self {
            Self::Path(key) => key,
            Self::Query(key) => key,
            Self::Metadata(key) => key,
        }
    }
}

impl KeyExtractor for SettingsKey {
    fn key(&self, request: &Parts) -> Result<BlobKey> {
        self.extractor().key(request)
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
        f.write_str(match self {
            Self::Path(_) => "SettingsKey::Path",
            Self::Query(_) => "SettingsKey::Query",
            Self::Metadata(_) => "SettingsKey::Metadata",
        })
    }
}
