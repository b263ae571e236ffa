use http::request::Parts;

use super::{KeyExtractor, upload::upload_key};
use crate::{
    error::Result,
    key::{BlobKey, Candidates},
};

/// The key is the request's path, as the router left it; the query plays no part.
///
/// This fits the default `field_list`, every other that makes a path, `folder_base_path`, and the direct recordings
/// (`call_recording_ID.mp3?from=…`).
#[derive(Clone, Copy, Debug, Default)]
pub struct PathKey;

impl KeyExtractor for PathKey {
    fn key(&self, request: &Parts) -> Result<BlobKey> {
        upload_key(request.uri.path())
    }

    fn candidates(&self, request: &Parts) -> Result<Candidates> {
        Candidates::from_path(request.uri.path())
    }
}
