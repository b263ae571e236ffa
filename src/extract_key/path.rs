//! [`PathKey`]: the key in the path.

use http::request::Parts;

use super::{KeyExtractor, upload::upload_key};
use crate::{
    error::Result,
    key::{BlobKey, Candidates},
};

/// Takes the key from the path, without the prefix that a router strips. The query is ignored.
///
/// Use it for the default `field_list`, any other one that makes a path, `folder_base_path`, and direct recordings
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
