//! Uploads that are dropped or fail.

use std::sync::Arc;

use bytes::Bytes;
use kazoo_storage::{BlobStore, Body, Error, ErrorKind, Upload};
use tokio::sync::Notify;

use super::{fresh, key, metadata, read, staged, tree, upload};

#[test]
fn leaves_nothing_staged_of_a_dropped_upload() {
    // More than the store buffers, so that a file is staged.
    for len in [10, 700_000] {
        let (store, root) = fresh();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let reached = Arc::new(Notify::new());
            let body = hanging(Bytes::from(vec![7; len]), Arc::clone(&reached));
            let task = tokio::spawn({
                let store = store.clone();
                async move { store.put(Upload::new(key("ACC/DOC/message.mp3"), body)).await }
            });
            reached.notified().await;
            assert_eq!(staged(root.path()).len(), usize::from(len > 128 * 1024));
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        });
        // Waits for the blocking threads.
        drop(runtime);
        assert_eq!(staged(root.path()), [""; 0]);
        assert_eq!(tree(root.path()), [""; 0]);
    }
}

/// Returns a body that yields `content` in small chunks, notifies `reached`, and never ends.
fn hanging(content: Bytes, reached: Arc<Notify>) -> Body {
    struct Hanging(Bytes, Arc<Notify>);
    impl http_body::Body for Hanging {
        type Data = Bytes;
        type Error = Error;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
            if self.0.is_empty() {
                self.1.notify_one();
                return std::task::Poll::Pending;
            }
            let len = self.0.len().min(5_000);
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data(self.0.split_to(len)))))
        }
    }
    Body::new(Hanging(content, reached))
}

/// Returns a body of these chunks that ends with an error.
fn failing(chunks: Vec<Bytes>) -> Body {
    struct Chunks(std::vec::IntoIter<Bytes>, bool);
    impl http_body::Body for Chunks {
        type Data = Bytes;
        type Error = Error;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
            std::task::Poll::Ready(match self.0.next() {
                Some(chunk) => Some(Ok(http_body::Frame::data(chunk))),
                None if self.1 => None,
                None => {
                    self.1 = true;
                    Some(Err(Error::new(ErrorKind::IncompleteBody, "cut")))
                }
            })
        }
    }
    Body::new(Chunks(chunks.into_iter(), false))
}

#[tokio::test]
async fn keeps_the_old_pair_after_a_failed_upload() {
    let (store, root) = fresh();
    let old = upload("ACC/DOC/message.mp3", "old").with_metadata(metadata(r#"{"n":1}"#));
    store.put(old).await.unwrap();
    let before = tree(root.path());
    for chunks in [1, 20] {
        let body = failing(vec![Bytes::from(vec![1; 50_000]); chunks]);
        let new = Upload::new(key("ACC/DOC/message.mp3"), body).with_metadata(metadata(r#"{"n":2}"#));
        let error = store.put(new).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IncompleteBody);
        assert_eq!(read(&store, "ACC/DOC/message.mp3").await, "old");
        let kept = store.metadata(&key("ACC/DOC/message.mp3")).await.unwrap();
        assert_eq!(kept, Some(metadata(r#"{"n":1}"#)));
        assert_eq!(staged(root.path()), [""; 0]);
    }
    // A failed upload creates no directories.
    store
        .put(Upload::new(key("NEW/DOC/d.mp3"), failing(vec![])))
        .await
        .unwrap_err();
    assert_eq!(tree(root.path()), before);
}
