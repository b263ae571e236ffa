//! What is stored, and away with it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use futures_core::{Stream, stream::BoxStream};
use object_store::{ObjectMeta, ObjectStoreExt as _};

use super::{
    ObjectStoreBlobs,
    deadline::Patience,
    error::{Task, failed},
};
use crate::{
    error::Result,
    key::BlobKey,
    store::{BlobCatalog, BlobEntry},
};

impl BlobCatalog for ObjectStoreBlobs {
    /// One request for each thousand objects, or what the engine has for a page.
    ///
    /// What other programs have put into the bucket is listed if its name is that of a key. The marker of a directory
    /// (`ACCOUNT/`, as some consoles make it) looks like one, and a name that `object_store` does not take (`a//b`) ends
    /// the list with an error.
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send {
        let above = self.beneath(prefix.into_iter().flat_map(BlobKey::segments));
        Listing {
            store: self.clone(),
            objects: self.engine.list(Some(&above)),
            patience: Patience::new(self.deadline, Task::List),
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
    objects: BoxStream<'static, object_store::Result<ObjectMeta>>,
    patience: Patience,
}

impl Stream for Listing {
    type Item = Result<BlobEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let object = this.objects.as_mut().poll_next(cx);
            let object = match ready!(this.patience.poll(object, cx))? {
                Some(Ok(object)) => object,
                Some(Err(error)) => return Poll::Ready(Some(Err(failed(Task::List, &error)))),
                None => return Poll::Ready(None),
            };
            if let Some(key) = this.store.key(&object.location) {
                let modified = Some(SystemTime::from(object.last_modified));
                return Poll::Ready(Some(Ok(BlobEntry { key, modified })));
            }
        }
    }
}
