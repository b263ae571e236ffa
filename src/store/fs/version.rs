//! [`Version`]: identifies a content of a file.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The modification time and length of a content. The store chooses times so that no two contents of a file share both.
///
/// Ties the entry of a sidecar to the content that it describes. It is displayed as `stat -c %.9Y-%s` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) modified: SystemTime,
    pub(super) len: u64,
    secs: i64,
    nanos: i64,
}

impl Version {
    /// Returns the version of the file with this `stat`.
    pub(super) fn of(stat: &fs::Metadata) -> io::Result<Self> {
        Ok(Self {
            modified: stat.modified()?,
            len: stat.len(),
            secs: stat.mtime(),
            nanos: stat.mtime_nsec(),
        })
    }

    /// Returns the modification time for content that replaces `replaced`: `now`, or a later time if the clock was set
    /// back.
    ///
    /// The time is in whole microseconds, which file systems preserve, and never in whole seconds: a time without a
    /// fraction has therefore lost it in an archive or on a file system that has none.
    pub(super) fn successor(replaced: Option<Self>, now: SystemTime) -> SystemTime {
        let micros = |time: Duration| Duration::new(time.as_secs(), time.subsec_micros() * 1000);
        let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = micros(since_epoch(now));
        let earliest = replaced.map_or(now, |old| {
            let step = if old.nanos == 0 {
                Duration::from_secs(1)
            } else {
                Duration::from_micros(1)
            };
            micros(since_epoch(old.modified).saturating_add(step))
        });
        let mut stamp = now.max(earliest);
        if stamp.subsec_nanos() == 0 {
            stamp = stamp.saturating_add(Duration::from_micros(1));
        }
        UNIX_EPOCH.checked_add(stamp).unwrap_or(UNIX_EPOCH + now)
    }

    /// Returns `true` if `text`, written when a content was stored, denotes this version.
    ///
    /// An archive may have preserved only whole seconds.
    pub(super) fn is(self, text: &str) -> bool {
        text == self.to_string()
            || self.nanos == 0
                && text
                    .split_once('.')
                    .and_then(|(secs, rest)| Some((secs, rest.split_once('-')?.1)))
                    .is_some_and(|(secs, len)| secs == self.secs.to_string() && len == self.len.to_string())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}-{}", self.secs, self.nanos, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(modified: SystemTime) -> Version {
        let file = tempfile::tempfile().unwrap();
        file.set_modified(modified).unwrap();
        Version::of(&file.metadata().unwrap()).unwrap()
    }

    #[test]
    fn a_successor_is_later_even_if_the_clock_is_set_back() {
        let now = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
        assert_eq!(
            Version::successor(None, now),
            UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_000)
        );
        let mut old = version(now + Duration::from_secs(3600));
        for _ in 0..3 {
            let next = version(Version::successor(Some(old), now));
            assert!(next.modified > old.modified);
            assert_ne!(next.to_string(), old.to_string());
            old = next;
        }
        // On a file system with whole seconds, a microsecond later would be the same time.
        let whole = version(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        assert_eq!(
            Version::successor(Some(whole), now),
            UNIX_EPOCH + Duration::new(1_800_000_001, 1000)
        );
        // The store never chooses a time without a fraction.
        let second = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        assert_eq!(Version::successor(None, second), second + Duration::from_micros(1));
        // No time is later than the last one.
        let last = Version {
            modified: UNIX_EPOCH + Duration::new(i64::MAX.cast_unsigned(), 999_999_999),
            nanos: 999_999_999,
            ..whole
        };
        let stamp = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_000);
        assert_eq!(Version::successor(Some(last), now), stamp);
    }

    #[test]
    fn recognizes_a_time_cut_to_seconds() {
        let stamp = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_000);
        let text = version(stamp).to_string();
        assert_eq!(text, "1700000000.123456000-0");
        assert!(version(stamp).is(&text));
        assert!(version(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).is(&text));
        for other in [
            stamp + Duration::from_micros(1),
            UNIX_EPOCH + Duration::from_secs(1_700_000_001),
        ] {
            assert!(!version(other).is(&text));
        }
        assert!(!version(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).is("1700000000.123456000-1"));
        assert!(!version(stamp).is(""));
    }
}
