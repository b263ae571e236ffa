use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http_body::Body as _;

use crate::body::Body;

/// Number of bytes read from a request body. Clones share the counter.
#[derive(Clone, Default)]
pub(super) struct BytesIn(Arc<AtomicU64>);

impl BytesIn {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts the bytes that are read from `body`.
    pub(super) fn count(self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        body.inspect(move |_, frame| {
            if let Some(Ok(frame)) = frame {
                let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.0.fetch_add(len, Ordering::Relaxed);
            }
        })
    }
}
