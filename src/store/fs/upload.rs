//! Receives the body of an upload, and commits it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::{Inner, blocking, commit, name::KeyPath, sidecar::Facts, stage::Staged};
use crate::{
    error::Result,
    store::{PutResult, Upload},
};

/// The size of the buffer in which a body is collected before it is written, in bytes. A shorter body is stored in one
/// step, and its content is in the journal.
const BUFFER: usize = 64 << 10;

/// Stores an upload.
pub(super) async fn put(store: &Arc<Inner>, upload: Upload) -> Result<PutResult> {
    let Upload {
        key,
        body,
        content_type,
        metadata,
        len,
        precondition,
    } = upload;
    KeyPath::of(&key).check()?;
    if !store.recovery.is_done() {
        // Retries the recovery before the body takes the disk space that it needs.
        let store = Arc::clone(store);
        blocking(move || store.ready()).await?;
    }
    let expected = len.and_then(|len| usize::try_from(len).ok()).unwrap_or(BUFFER);
    // Small chunks are copied: each of them could pin the whole buffer that it is a slice of.
    let mut buffer = Vec::with_capacity(expected.min(BUFFER));
    let mut staged = None;
    let mut body = body.with_digest();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if buffer.len() + data.len() <= BUFFER {
            buffer.extend_from_slice(&data);
            continue;
        }
        let store = Arc::clone(store);
        // The chunk is returned, so that the thread that allocated it frees it: allocators then reuse the memory at
        // once.
        (staged, buffer, _) = blocking(move || {
            let staged = append(&store, staged, &buffer, &data)?;
            buffer.clear();
            Ok((Some(staged), buffer, data))
        })
        .await?;
    }
    let digest = body.digest();
    let cancelled = Arc::new(AtomicBool::new(false));
    let _guard = SetOnDrop(Arc::clone(&cancelled));
    let store = Arc::clone(store);
    blocking(move || {
        let rest = Bytes::from(buffer);
        let whole = staged.is_none().then_some(&rest);
        let media = append(&store, staged, &rest, &Bytes::new())?;
        let facts = Facts {
            digest,
            content_type,
            metadata,
        };
        commit::commit(&store, &key, media, whole, &facts, &precondition, &cancelled)
    })
    .await
}

/// Appends `buffer` and `data` to the staged file. Creates the file if there is none. Blocks.
fn append(store: &Inner, staged: Option<Staged>, buffer: &[u8], data: &Bytes) -> Result<Staged> {
    let mut staged = staged.map_or_else(|| store.stage.create(), Ok)?;
    staged.write(buffer)?;
    staged.write(data)?;
    Ok(staged)
}

/// Sets its flag when it is dropped.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
