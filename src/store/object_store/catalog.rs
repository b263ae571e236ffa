//! Listing and deletion.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use futures_core::{Stream, stream::BoxStream};
use object_store::{ObjectMeta, ObjectStoreExt as _};

use super::{
    ObjectStoreBlobs,
    deadline::ItemDeadline,
    error::{Task, failed},
};
use crate::{
    error::Result,
    key::BlobKey,
    store::{BlobCatalog, BlobEntry},
};

impl BlobCatalog for ObjectStoreBlobs {
    /// Sends one request for each page of the engine, usually a thousand objects.
    ///
    /// The length of an entry is that of the object: of the content, and of the JSON document if it is stored after the
    /// content. Objects of other programs are listed if their names are keys. That includes the directory markers of
    /// some consoles (`ACCOUNT/`). A name that `object_store` rejects (`a//b`) ends the list with an error.
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        let above = self.beneath(prefix.into_iter().flat_map(BlobKey::segments));
        Listing {
            store: self.clone(),
            objects: Some(self.engine.list(Some(&above))),
            item_deadline: ItemDeadline::new(self.deadline, Task::List),
        }
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        let name = self.name(key)?;
        match self.within(Task::Delete, self.engine.delete(&name)).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

struct Listing {
    store: ObjectStoreBlobs,
    /// `None` after its end, and after an error, which ends the listing.
    objects: Option<BoxStream<'static, object_store::Result<ObjectMeta>>>,
    item_deadline: ItemDeadline,
}

impl Stream for Listing {
    type Item = Result<BlobEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while let Some(objects) = &mut this.objects {
            let object = objects.as_mut().poll_next(cx);
            let object = match ready!(this.item_deadline.poll(object, cx)) {
                Ok(Some(object)) => object.map_err(|error| failed(Task::List, &error)),
                Ok(None) => {
                    this.objects = None;
                    break;
                }
                Err(late) => Err(late),
            };
            match object {
                Ok(object) => {
                    if let Some(key) = this.store.key(&object.location) {
                        let modified = SystemTime::from(object.last_modified);
                        return Poll::Ready(Some(Ok(BlobEntry::new(key, object.size).with_modified(modified))));
                    }
                }
                Err(error) => {
                    this.objects = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }
}
