//! Parsers for the values of flags: sizes, durations, addresses and keys.

use std::{
    net::SocketAddr,
    str::FromStr,
    time::{Duration, SystemTime},
};

pub(crate) use bytesize::ByteSize as Size;

/// The maximum of any duration.
const DAY: Duration = Duration::from_secs(86_400);

/// The minimum of `--idle-timeout`: five seconds longer than KAZOO keeps an idle connection.
const MIN_IDLE: Duration = Duration::from_secs(125);

/// Parses a number of bytes, with or without a unit: `64MiB`, `1GB`, `4096`.
pub(super) fn size(text: &str) -> Result<Size, &'static str> {
    text.parse()
        .map_err(|_| "expected a size such as 64MiB, 1GB or 4096: a number and a unit, or a number of bytes")
}

/// Parses a number of bytes, at least 1.
pub(crate) fn nonzero_size(text: &str) -> Result<Size, &'static str> {
    match size(text)? {
        Size(0) => Err("expected at least 1 byte: a limit of 0 refuses everything"),
        size => Ok(size),
    }
}

/// Parses a number, at least 1.
pub(super) fn nonzero_number(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(0) => Err("expected at least 1: a limit of 0 refuses everything"),
        number => number.map_err(|_| "expected a number"),
    }
}

/// Parses the size of a request head.
pub(super) fn head_size(text: &str) -> Result<Size, &'static str> {
    match size(text)? {
        size @ Size(0x2000..=0x100_0000) => Ok(size),
        Size(_) => Err("expected at least 8KiB and at most 16MiB"),
    }
}

/// Parses a duration of at most a day: `30s`, `2m`, `1h 30m`. A plain number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    let parsed = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    parsed
        .filter(|duration| *duration <= DAY)
        .ok_or("expected a duration such as 30s, 2m or 1h, at most 24h; a plain number is seconds")
}

/// Parses a duration of at least a second.
pub(super) fn nonzero_duration(text: &str) -> Result<Duration, &'static str> {
    let duration = duration(text)?;
    if duration < Duration::from_secs(1) {
        return Err("expected at least 1 second");
    }
    Ok(duration)
}

/// Parses the time that a connection may stay idle.
pub(super) fn idle_timeout(text: &str) -> Result<Duration, &'static str> {
    let duration = duration(text)?;
    if duration < MIN_IDLE {
        return Err(
            "expected at least 125 seconds: KAZOO keeps an idle connection for 120 s, and loses an upload that \
                    it sends while the server closes the connection",
        );
    }
    Ok(duration)
}

/// Parses a text that is not empty.
pub(super) fn text(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("expected a text that is not empty; if it comes from a variable, check that the variable is set"),
        text => Ok(text.to_owned()),
    }
}

/// Parses a time in UTC: `2026-11-29`, or `2026-11-29T10:00:00Z`.
pub(super) fn time(text: &str) -> Result<SystemTime, &'static str> {
    let whole = if text.contains('T') {
        text.to_owned()
    } else {
        format!("{text}T00:00:00Z")
    };
    humantime::parse_rfc3339(&whole).map_err(|_| "expected a time in UTC, such as 2026-11-29 or 2026-11-29T10:00:00Z")
}

/// Parses a time as [`time`] does, or a duration back from now: `2h`.
pub(super) fn time_or_age(text: &str) -> Result<SystemTime, &'static str> {
    let age = humantime::parse_duration(text).ok();
    match age.and_then(|age| SystemTime::now().checked_sub(age)) {
        Some(time) => Ok(time),
        None => {
            time(text).map_err(|_| "expected a time in UTC such as 2026-11-29T10:00:00Z, or a duration back such as 2h")
        }
    }
}

/// Parses an address and a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "expected IP:PORT, such as 127.0.0.1:8080, or 0.0.0.0:8080 for every address of this machine")
}

/// The part of a request that names the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// The path.
    Path,
    /// The query parameter of this name.
    Query(String),
    /// The first of these metadata fields that the upload has.
    Metadata(Vec<String>),
}

impl FromStr for KeySource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            None if text == "path" => Ok(Self::Path),
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            Some(("metadata", fields)) if fields.split(',').all(|field| !field.is_empty()) => {
                Ok(Self::Metadata(fields.split(',').map(str::to_owned).collect()))
            }
            _ => Err("expected `path`, `query=NAME` or `metadata=FIELD[,FIELD…]`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_sizes() {
        let size = |text: &str| size(text).map(|Size(bytes)| bytes);
        for (text, bytes) in [
            ("0", 0),
            ("12345", 12345),
            ("3KiB", 3 << 10),
            ("20 MiB", 20 << 20),
            ("1GiB", 1 << 30),
            ("1GB", 1_000_000_000),
            ("1.5GiB", 3 << 29),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GiB", "-1", "1XB", "1 2", "MiB 1"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parses_durations() {
        for (text, seconds) in [
            ("30s", 30),
            ("5m", 300),
            ("7", 7),
            ("1h 30m", 5400),
            ("0", 0),
            ("24h", 86_400),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "s", "-1", "1.5", "5 parsecs", "99999m", "86401"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for short in ["0s", "0", "999ms"] {
            assert!(nonzero_duration(short).is_err(), "{short}");
        }
        assert!(idle_timeout("124s").is_err() && idle_timeout("125s").is_ok());
    }

    #[test]
    fn parses_key_sources() {
        assert_eq!("path".parse(), Ok(KeySource::Path));
        assert_eq!("query=recording".parse(), Ok(KeySource::Query("recording".into())));
        assert_eq!(
            "metadata=media_id,id".parse(),
            Ok(KeySource::Metadata(vec!["media_id".into(), "id".into()]))
        );
        for bad in ["", "Path", "query", "query=", "metadata=", "metadata=a,,b", "header=x"] {
            assert!(bad.parse::<KeySource>().is_err(), "{bad}");
        }
    }
}
