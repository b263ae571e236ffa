//! The modification date of a stored file as a validator (RFC 9110, section 8.8.2).
//!
//! An HTTP date has whole seconds, and a file can be replaced within the second in which it was stored. A date is
//! therefore sent to clients, and compared, only once that second is over: from then on it identifies one content, the
//! last one of its second. This also keeps `Last-Modified` from being later than `Date`, whatever clock stamped the
//! file.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::BlobInfo;

/// Returns the second in which the file was stored, if HTTP has a date for it: from 1970 to the end of 9999.
fn stored(info: &BlobInfo) -> Option<SystemTime> {
    const END: u64 = 253_402_300_800;
    let secs = info.modified?.duration_since(UNIX_EPOCH).ok()?.as_secs();
    (secs < END).then(|| UNIX_EPOCH + Duration::from_secs(secs))
}

/// Returns the date of the file, once the second in which it was stored is over.
pub(crate) fn last_modified(info: &BlobInfo, now: SystemTime) -> Option<SystemTime> {
    stored(info).filter(|stored| {
        now.duration_since(*stored)
            .is_ok_and(|age| age >= Duration::from_secs(1))
    })
}

/// Returns [`last_modified`] as the value of the header.
pub(crate) fn last_modified_header(info: &BlobInfo, now: SystemTime) -> Option<HeaderValue> {
    HeaderValue::try_from(httpdate::fmt_http_date(last_modified(info, now)?)).ok()
}

/// Parses a header value that is a date.
pub(crate) fn parse(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// Returns the date in the header `name`, or `None` if it is absent, repeated or malformed.
pub(crate) fn from_headers(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| parse(value))?
}

/// Returns `true` if a client's copy with this date is current. A date in the future never matches.
pub(crate) fn is_fresh(info: &BlobInfo, date: SystemTime, now: SystemTime) -> bool {
    date <= now && last_modified(info, now).is_some_and(|modified| modified <= date)
}

/// Returns `true` if the file has not changed since `date`, or has no date.
pub(crate) fn is_unmodified_since(info: &BlobInfo, date: SystemTime, now: SystemTime) -> bool {
    stored(info).is_none_or(|stored| stored < date || last_modified(info, now).is_some_and(|modified| modified <= date))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    fn info(modified: SystemTime) -> BlobInfo {
        BlobInfo::new(10).with_modified(modified)
    }

    #[test]
    fn a_file_has_a_date_once_its_second_is_over() {
        for (modified, now, date) in [
            (20_700, 20_700, None),
            (20_700, 20_999, None),
            (20_700, 21_000, Some(20_000)),
            (20_700, 99_000, Some(20_000)),
            (20_000, 20_000, None),
            (20_000, 21_000, Some(20_000)),
            // The clock was wrong, or the file was restored from elsewhere.
            (99_000, 20_000, None),
        ] {
            let found = last_modified(&info(at(modified)), at(now));
            assert_eq!(found, date.map(at), "{modified} at {now}");
        }
    }

    #[test]
    fn a_file_stored_before_1970_or_after_9999_has_no_date() {
        let end = at(253_402_300_800_000);
        let now = end + SECOND * 9;
        for modified in [UNIX_EPOCH - SECOND, end] {
            let info = info(modified);
            assert_eq!(last_modified(&info, now), None);
            assert!(!is_fresh(&info, at(0), now));
            assert!(is_unmodified_since(&info, at(0), now));
        }
        for modified in [UNIX_EPOCH, end - SECOND] {
            assert_eq!(last_modified(&info(modified), now), Some(modified));
        }
    }

    /// For two contents, stored at any two times, and a client that fetches the first at any time before the second is
    /// stored: the client's date never matches the second content.
    #[test]
    fn a_date_never_identifies_two_contents() {
        let times = || (20_000..23_000).step_by(250);
        for first in times() {
            for second in times().filter(|second| *second > first) {
                for fetched in times().filter(|fetched| (first..second).contains(fetched)) {
                    let Some(date) = last_modified(&info(at(first)), at(fetched)) else {
                        continue;
                    };
                    for now in times().chain([99_000]).filter(|now| *now >= second) {
                        let (replaced, now) = (info(at(second)), at(now));
                        assert_ne!(last_modified(&replaced, now), Some(date), "{first} {second} {fetched}");
                        assert!(!is_fresh(&replaced, date, now), "{first} {second} {fetched}");
                        assert!(!is_unmodified_since(&replaced, date, now), "{first} {second} {fetched}");
                    }
                }
            }
        }
    }

    #[test]
    fn compares_a_date_with_that_of_the_file() {
        let file = info(at(20_700));
        for (date, now, fresh, unmodified) in [
            (19_000, 30_000, false, false),
            (20_000, 30_000, true, true),
            (21_000, 30_000, true, true),
            // The file has no date yet.
            (20_000, 20_800, false, false),
            // The client's clock is ahead.
            (40_000, 30_000, false, true),
            (21_000, 20_800, false, true),
        ] {
            assert_eq!(is_fresh(&file, at(date), at(now)), fresh, "{date} at {now}");
            assert_eq!(
                is_unmodified_since(&file, at(date), at(now)),
                unmodified,
                "{date} at {now}"
            );
        }
    }
}
