//! KAZOO's times and durations.

use std::time::{Duration, SystemTime};

use serde::{Deserialize as _, Deserializer, de::Error as _};

/// Seconds from the beginning of year 0 to that of 1970.
const UNIX_EPOCH: u64 = 62_167_219_200;

/// Converts KAZOO's Gregorian seconds, which count from the beginning of year 0, in UTC.
///
/// Returns `None` for a time that a [`SystemTime`] cannot represent.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use kazoo_storage::metadata::gregorian_time;
///
/// let unix = SystemTime::UNIX_EPOCH + Duration::from_secs(1_705_314_030);
/// assert_eq!(gregorian_time(63_872_533_230), Some(unix));
/// ```
#[must_use]
pub fn gregorian_time(seconds: u64) -> Option<SystemTime> {
    match seconds.checked_sub(UNIX_EPOCH) {
        Some(after) => SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(after)),
        None => SystemTime::UNIX_EPOCH.checked_sub(Duration::from_secs(UNIX_EPOCH - seconds)),
    }
}

/// Reads a time in Gregorian seconds.
pub(super) fn gregorian<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    let seconds = Option::<u64>::deserialize(deserializer)?;
    let time = seconds.map(|seconds| gregorian_time(seconds).ok_or_else(|| D::Error::custom("out of range")));
    time.transpose()
}

/// Reads a duration in seconds.
pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_secs))
}

/// Reads a duration in milliseconds.
pub(super) fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_times_before_and_after_1970() {
        let second = Duration::from_secs(1);
        assert_eq!(gregorian_time(UNIX_EPOCH), Some(SystemTime::UNIX_EPOCH));
        assert_eq!(gregorian_time(UNIX_EPOCH + 1), Some(SystemTime::UNIX_EPOCH + second));
        assert_eq!(gregorian_time(UNIX_EPOCH - 1), Some(SystemTime::UNIX_EPOCH - second));
        assert_eq!(gregorian_time(u64::MAX), None);
    }
}
