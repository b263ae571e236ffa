//! The log: structured lines on stderr.
//!
//! A request's query is never in it: KAZOO's fetches carry callers' names and numbers there.

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, IsTerminal as _},
};

use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{LevelFilter, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::cli::LogFormat;

/// Starts logging. `RUST_LOG` says how much of this program's own records is written, by default `info`.
///
/// Records of other crates are never written, whatever `RUST_LOG` says: one that shows a request's head shows its
/// query.
pub(crate) fn init(format: LogFormat) {
    let level = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let own = filter_fn(|metadata| {
        let target = metadata.target();
        let path = target.strip_prefix(env!("CARGO_CRATE_NAME"));
        path.is_some_and(|path| path.is_empty() || path.starts_with("::"))
    });
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(own))
        .with(level)
        .init();
}

/// An error and its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Many errors say their cause themselves.
        let message = error.to_string();
        if !text.ends_with(&message) {
            let _ = write!(text, ": {message}");
        }
        cause = error.source();
    }
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use kazoo_storage::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_chain_is_one_line_and_says_nothing_twice() {
        let inner = io::Error::other("no\nspace");
        let error = Error::new(ErrorKind::StorageFull, "cannot write").with_source(inner);
        assert_eq!(chain(&error), "cannot write: no space");
        let outer = Error::new(ErrorKind::Internal, "failed: cannot write").with_source(error);
        assert_eq!(chain(&outer), "failed: cannot write: no space");
    }
}
