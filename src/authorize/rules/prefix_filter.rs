//! [`PrefixFilter`]: quickly rules out that a text contains any of many secrets.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
};

/// Length of the prefixes, in bytes.
const PREFIX: usize = 8;

/// Length of a gram, a part of a prefix, in bytes.
const GRAM: usize = 4;

/// Each prefix in a text contains exactly one of the grams at multiples of this position.
const STEP: usize = PREFIX - GRAM + 1;

/// Bits for each gram of a prefix, so that few others have the same bit.
const SPARSITY: usize = 8;

/// Finds texts that contain the first eight bytes of a pattern. The time for a text hardly depends on the number of patterns.
#[derive(Clone, Default)]
pub(super) struct PrefixFilter {
    key: RandomState,
    /// The hashes of the prefixes.
    prefixes: HashSet<u64>,
    /// A bit for each gram of a prefix.
    grams: Vec<u64>,
}

impl PrefixFilter {
    /// Creates a filter for those of `patterns` that have at least eight bytes.
    pub(super) fn new(patterns: &[Vec<u8>]) -> Self {
        let mut filter = Self::default();
        let prefixes: Vec<&[u8; PREFIX]> = patterns.iter().filter_map(|pattern| pattern.first_chunk()).collect();
        let bits = (prefixes.len() * STEP * SPARSITY).next_power_of_two().max(4096);
        filter.grams = vec![0; bits / 64];
        for prefix in prefixes {
            filter.prefixes.insert(filter.key.hash_one(prefix));
            for gram in prefix.windows(GRAM) {
                let (word, bit) = filter.position(gram);
                if let Some(word) = filter.grams.get_mut(word) {
                    *word |= bit;
                }
            }
        }
        filter
    }

    /// Returns `false` if `text` contains no pattern of at least eight bytes.
    pub(super) fn may_match(&self, text: &[u8]) -> bool {
        (0..text.len()).step_by(STEP).any(|at| {
            let has_gram = text.get(at..at + GRAM).is_some_and(|gram| {
                let (word, bit) = self.position(gram);
                self.grams.get(word).is_some_and(|word| word & bit != 0)
            });
            has_gram && (at.saturating_sub(STEP - 1)..=at).any(|start| self.is_prefix(text.get(start..)))
        })
    }

    fn is_prefix(&self, rest: Option<&[u8]>) -> bool {
        let prefix = rest.and_then(<[u8]>::first_chunk::<PREFIX>);
        prefix.is_some_and(|prefix| self.prefixes.contains(&self.key.hash_one(prefix)))
    }

    /// Returns the word and the bit of a gram.
    fn position(&self, gram: &[u8]) -> (usize, u64) {
        let gram = gram.first_chunk().map_or(0, |gram| u32::from_le_bytes(*gram));
        let mixed = u64::from(gram).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        // The number of words is a power of two.
        let word = usize::try_from(mixed >> 6).unwrap_or_default() & self.grams.len().wrapping_sub(1);
        (word, 1 << (mixed & 63))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_pattern_at_every_position() {
        let patterns: Vec<Vec<u8>> = (0..300)
            .map(|number| format!("{number:03}-secret").into_bytes())
            .collect();
        let filter = PrefixFilter::new(&patterns);
        for before in 0..20 {
            for pattern in &patterns {
                let text = [&b"x".repeat(before)[..], pattern, b"y"].concat();
                assert!(filter.may_match(&text), "{before}");
            }
        }
        for text in [
            &b""[..],
            b"001-sec",
            b"-secret-secret-001",
            &b"0123456789abcdef".repeat(9),
        ] {
            assert!(!filter.may_match(text), "{}", String::from_utf8_lossy(text));
        }
        assert!(!PrefixFilter::default().may_match(b"a long text"));
        assert!(!PrefixFilter::new(&[b"short".to_vec()]).may_match(b"short, short"));
    }
}
