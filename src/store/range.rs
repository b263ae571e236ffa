//! [`ByteRange`]: the range of a fetch.

use std::{fmt, ops::Range};

use crate::error::{Error, ErrorKind, Result};

/// A range of a file, as a client requests it without knowing the length of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From this offset to the end.
    From(u64),
    /// From the first offset to the second, inclusive.
    FromTo(u64, u64),
    /// This many bytes at the end.
    Last(u64),
}

impl ByteRange {
    /// Returns the bytes of the range in a file of `len` bytes. [`ErrorKind::RangeNotSatisfiable`] if there are none.
    ///
    /// ```
    /// use kazoo_storage::ByteRange;
    ///
    /// assert_eq!(ByteRange::From(2).of(10)?, 2..10);
    /// assert_eq!(ByteRange::FromTo(2, 99).of(10)?, 2..10);
    /// assert_eq!(ByteRange::Last(3).of(10)?, 7..10);
    /// assert!(ByteRange::From(10).of(10).is_err());
    /// # Ok::<(), kazoo_storage::Error>(())
    /// ```
    pub fn of(self, len: u64) -> Result<Range<u64>> {
        let range = match self {
            Self::From(start) => start..len,
            Self::FromTo(start, last) => start..last.saturating_add(1).min(len),
            Self::Last(count) => len.saturating_sub(count)..len,
        };
        if range.is_empty() {
            let message = format!("the file has {len} bytes, none of them in {self}");
            Err(Error::new(ErrorKind::RangeNotSatisfiable, message))
        } else {
            Ok(range)
        }
    }
}

/// Formats the range as in a `Range` header, after `bytes=`.
impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(start) => write!(f, "{start}-"),
            Self::FromTo(start, last) => write!(f, "{start}-{last}"),
            Self::Last(count) => write!(f, "-{count}"),
        }
    }
}
