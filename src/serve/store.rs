//! PUT and POST.

use http::{Response, StatusCode, header, request};
use http_body::Body as _;

use super::body::Watch;
use crate::{
    body::Body,
    encoding::ContentEncoding,
    error::{Error, ErrorKind, Result},
    framing::declared_len,
    key::BlobKey,
    metadata::Metadata,
    outcome::Outcome,
    store::{BlobStore, Precondition, PutResult, Upload},
};

/// Stores `body` under `key`.
pub(super) async fn store<S: BlobStore>(
    store: &S,
    key: &BlobKey,
    mut head: request::Parts,
    body: Body,
) -> Result<Response<Body>> {
    if head.headers.contains_key(header::CONTENT_RANGE) {
        let message = "a part of a file (content-range) cannot be stored; send the whole file";
        return Err(Error::new(ErrorKind::InvalidRequest, message));
    }
    ContentEncoding::refuse_any(&head.headers)?;
    let precondition = Precondition::from_headers(&head.headers)?;
    // Saves the client from sending a body that would be rejected. The store decides when it commits.
    precondition.check_in(store, key).await?;
    let len = declared_len(&head.headers).or_else(|| body.size_hint().exact());
    let (watch, body) = Watch::over(body);
    let metadata = head.extensions.remove::<Metadata>();
    let upload = Upload {
        key: key.clone(),
        body,
        content_type: head.headers.remove(header::CONTENT_TYPE),
        metadata: metadata.clone(),
        len,
        precondition,
    };
    let stored = store.put(upload).await;
    // The end of the body decides, whatever the store returned.
    if let Some(error) = watch.error() {
        return Err(error);
    }
    let stored = stored?;
    let len = watch.complete_len().ok_or_else(|| {
        let message = "the store reported success before the body had ended; this is a defect of the store";
        Error::new(ErrorKind::Internal, message)
    })?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::CREATED;
    response.extensions_mut().insert(Outcome::Stored {
        key: key.clone(),
        len,
        replaced: stored == PutResult::Replaced,
        metadata,
    });
    Ok(response)
}
