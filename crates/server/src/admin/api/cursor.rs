//! The cursor of a page: the position after the last item of the page before.

use std::time::{Duration, SystemTime};

use kazoo_storage::Error;

use super::parameters::{Parameters, invalid};

/// Takes the cursor of a request. `parse` returns its position.
pub(super) fn take<T>(parameters: &mut Parameters<'_>, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
    let Some(cursor) = parameters.text("cursor") else {
        return Ok(None);
    };
    let position = parse(&cursor).ok_or_else(|| invalid("cursor", "must be the `next` of a page"))?;
    Ok(Some(position))
}

/// Returns a time as a cursor has it: in milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u128 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis()
}

/// Returns the time that a cursor has as [`millis`].
pub(super) fn time(millis: &str) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis.parse().ok()?))
}
