//! Times in options.

use std::time::Duration;

/// At most a day: whoever waits longer for a server to stop has forgotten it.
pub(crate) fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds @ 0..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected whole seconds, at most 86400"),
    }
}

/// Whoever waits no second for a client has none.
pub(crate) fn waiting(text: &str) -> Result<Duration, &'static str> {
    seconds(text).and_then(|time| {
        if time.is_zero() {
            Err("expected at least 1 second")
        } else {
            Ok(time)
        }
    })
}

/// How long a connection may stay without a request.
pub(crate) fn idle(text: &str) -> Result<Duration, &'static str> {
    let time = seconds(text)?;
    if time < Duration::from_secs(125) {
        return Err(
            "expected at least 125 seconds: KAZOO keeps an idle connection for 120 s, and loses an upload that it \
                    sends on one which the server is just closing",
        );
    }
    Ok(time)
}

/// Seconds, or minutes with an `m`; at most a day.
pub(crate) fn span(text: &str) -> Result<Duration, &'static str> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let seconds = number.parse().ok().and_then(|number: u64| number.checked_mul(unit));
    match seconds {
        Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected a time such as `30s` or `5m`, at most a day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("7", 7)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in ["", "s", "0s", "1h", "-1", "99999m"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}
