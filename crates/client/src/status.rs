//! The statuses that KAZOO's HTTP client knows.

/// Returns `true` if KAZOO reports an error with this `status`. It crashes on any other.
pub(super) fn is_known_error(status: u16) -> bool {
    matches!(
        status,
        400..=418 | 421..=424 | 426 | 428 | 429 | 431 | 444 | 451 | 499 | 500..=508 | 510 | 511 | 599
    )
}

/// Returns the text that KAZOO shows an administrator for `status`.
pub(super) fn text(status: u16) -> &'static str {
    match status {
        414 => "Request-URI Too Long",
        416 => "Requested Range Not Satisfiable",
        444 => "Connection Closed Without Response",
        499 => "Client Closed Request",
        599 => "Network Connect Timeout Error",
        status => http::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Unknown"),
    }
}
