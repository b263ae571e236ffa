//! [`Blocks`]: bytes that are collected from chunks of any size.

use bytes::Bytes;

/// The capacity of a block, and of the first one, which is small because most documents are.
const BLOCK: usize = 64 << 10;
const FIRST_BLOCK: usize = 2 << 10;

/// Bytes in blocks, copied from the chunks that they came in.
///
/// Keeping the chunks would cost many times their length if they are short, and a buffer that doubles holds up to twice
/// what arrived, and three times that while it grows.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    blocks: Vec<Vec<u8>>,
    len: usize,
}

impl Blocks {
    /// Returns the number of collected bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends a copy of `data`.
    pub(crate) fn push(&mut self, mut data: &[u8]) {
        self.len += data.len();
        while !data.is_empty() {
            let Some(block) = self.blocks.last_mut().filter(|block| block.len() < block.capacity()) else {
                let capacity = if self.blocks.is_empty() { FIRST_BLOCK } else { BLOCK };
                self.blocks
                    .push(Vec::with_capacity(capacity.max(data.len().min(BLOCK))));
                continue;
            };
            let available = (block.capacity() - block.len()).min(data.len());
            let (now, later) = data.split_at(available);
            block.extend_from_slice(now);
            data = later;
        }
    }

    /// Returns all bytes in one allocation.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        if self.blocks.len() == 1 {
            self.blocks.pop().unwrap_or_default().into()
        } else {
            self.blocks.concat().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collects_chunks_of_any_size() {
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
        for size in [1, 7, FIRST_BLOCK, BLOCK, BLOCK + 1, content.len()] {
            let mut blocks = Blocks::default();
            for chunk in content.chunks(size) {
                blocks.push(chunk);
            }
            assert_eq!(blocks.len(), content.len());
            assert_eq!(blocks.into_bytes(), content, "{size}");
        }
        assert!(Blocks::default().into_bytes().is_empty());
    }
}
