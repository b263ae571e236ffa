//! Fetches: content, description and metadata.

use std::ops::Range;

use http::{Method, Uri};
use http_body_util::BodyExt as _;
use object_store::{GetOptions, GetRange, path::Path};

use super::{
    ObjectStoreBlobs,
    body::ObjectBody,
    error::{Task, damaged},
    object::{self, Document, Object},
};
use crate::{
    body::Body,
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    metadata::Metadata,
    store::{Blob, BlobInfo, ByteRange, GetResult},
};

/// The maximum number of attempts, if the object is replaced in between.
const MAX_RESTARTS: usize = 8;

pub(super) async fn head(store: &ObjectStoreBlobs, key: &BlobKey) -> Result<BlobInfo> {
    Ok(head_object(store, &store.name(key)?).await?.info)
}

pub(super) async fn get(store: &ObjectStoreBlobs, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
    let name = store.name(key)?;
    if let Some(location) = redirect(store, &name).await? {
        return Ok(GetResult::Redirect(location));
    }
    let blob = match range {
        None => open(store, &name, None).await?,
        Some(range) => open_range(store, &name, range).await?,
    };
    Ok(GetResult::Blob(blob))
}

pub(super) async fn metadata(store: &ObjectStoreBlobs, key: &BlobKey) -> Result<Option<Metadata>> {
    Ok(describe(store, key).await?.1)
}

/// Describes the object, with one request unless its document is after its content.
pub(super) async fn describe(store: &ObjectStoreBlobs, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
    let name = store.name(key)?;
    for _ in 0..MAX_RESTARTS {
        let Object {
            info, e_tag, document, ..
        } = head_object(store, &name).await?;
        let len = match document {
            Document::None => return Ok((info, None)),
            Document::Attribute(encoded) => return Ok((info, Some(object::decode(&encoded)?))),
            Document::Trailer(len) => len,
        };
        let trailer = info.len..info.len.saturating_add(len);
        let result = match request(store, &name, Some(trailer), e_tag.clone()).await {
            Ok(result) => result,
            // The object was replaced, perhaps by a shorter one.
            Err(_) if head_object(store, &name).await?.e_tag != e_tag => continue,
            Err(error) => return Err(error),
        };
        let json = ObjectBody::new(result.into_stream(), len, 0, store.deadline)
            .collect()
            .await?;
        let metadata = Metadata::from_json(json.to_bytes()).map_err(|error| {
            damaged("the object does not end with its JSON document; another program wrote it").with_source(error)
        })?;
        return Ok((info, Some(metadata)));
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        "the file is being replaced faster than it can be read; fetch it again",
    ))
}

/// Describes the object.
pub(super) async fn head_object(store: &ObjectStoreBlobs, name: &Path) -> Result<Object> {
    let options = GetOptions {
        head: true,
        ..GetOptions::default()
    };
    let result = match store.within(Task::Read, store.engine.get_opts(name, options)).await {
        // The response to a HEAD has no body, so only a GET distinguishes a missing object from a missing bucket.
        Err(error) if error.is_not_found() => request(store, name, Some(0..1), None).await?,
        result => result?,
    };
    Object::new(&result.meta, &result.attributes)
}

/// Returns the signed URL of the object, if redirects are enabled and the object consists of the content alone.
async fn redirect(store: &ObjectStoreBlobs, name: &Path) -> Result<Option<Uri>> {
    let Some(redirect) = &store.redirect else {
        return Ok(None);
    };
    if head_object(store, name).await?.trailer() > 0 || !signs_alike(name) {
        return Ok(None);
    }
    let signed = redirect.signer.signed_url(Method::GET, name, redirect.valid);
    let url = store.within(Task::Read, signed).await?;
    let location = Uri::try_from(url.as_str()).map_err(|error| {
        damaged("the object store's signed URL is not valid in a `location` header").with_source(error)
    })?;
    Ok(Some(location))
}

/// Returns `true` if a signed URL of `name` works with every engine.
///
/// `object_store` signs the decoded name for Google's store, which may be another object, and the encoded name for
/// Azure, which is refused. So the name must be the same decoded and encoded.
fn signs_alike(name: &Path) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/');
    name.as_ref().bytes().all(plain)
}

/// Opens the bytes of the content in `range`, with one request if the range has a start and an end.
async fn open_range(store: &ObjectStoreBlobs, name: &Path, range: ByteRange) -> Result<Blob> {
    if let ByteRange::FromTo(start, last) = range
        && start <= last
    {
        match open(store, name, Some(start..last.saturating_add(1))).await {
            // Engines report an unsatisfiable range in different ways.
            Err(error) if !error.is_not_found() => {}
            opened => return opened,
        }
    }
    let len = head_object(store, name).await?.info.len;
    open(store, name, Some(range.of(len)?)).await
}

/// Opens the existing bytes of the content in `range`.
async fn open(store: &ObjectStoreBlobs, name: &Path, range: Option<Range<u64>>) -> Result<Blob> {
    let result = request(store, name, range.clone(), None).await?;
    let object = Object::new(&result.meta, &result.attributes)?;
    let len = object.info.len;
    let wanted = match range {
        None => 0..len,
        Some(Range { start, end }) => ByteRange::FromTo(start, end.saturating_sub(1)).of(len)?,
    };
    if result.range.start != wanted.start {
        return Err(damaged(
            "the object store returned a different range than was requested",
        ));
    }
    let behind = result.range.end.saturating_sub(wanted.end);
    let count = wanted.end - wanted.start;
    let body = Body::new(ObjectBody::new(result.into_stream(), count, behind, store.deadline));
    Ok(Blob::partial(object.info, wanted, body))
}

async fn request(
    store: &ObjectStoreBlobs,
    name: &Path,
    range: Option<Range<u64>>,
    if_match: Option<String>,
) -> Result<object_store::GetResult> {
    let options = GetOptions {
        range: range.map(GetRange::Bounded),
        if_match,
        ..GetOptions::default()
    };
    store.within(Task::Read, store.engine.get_opts(name, options)).await
}
