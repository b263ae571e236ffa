//! The log: structured lines on stderr.
//!
//! It never contains a request's query: KAZOO's fetches carry callers' names and numbers there. Names from a request
//! are logged only in the form that [`redact`] returns.

mod record;
pub(crate) mod redact;
mod requests;

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, IsTerminal as _},
    panic,
};

use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{LevelFilter, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

pub(crate) use self::requests::Requests;
use crate::config::LogFormat;

/// Starts logging. `RUST_LOG` sets the level of the records of this project, by default `info`.
///
/// Records of other crates are never written, whatever `RUST_LOG` is: one that shows a request's head shows its query.
pub(crate) fn init(format: LogFormat) {
    let level = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    // The packages of this project have names that begin with that of the program.
    let own = filter_fn(|metadata| metadata.target().starts_with(env!("CARGO_CRATE_NAME")));
    let lines = fmt::layer()
        // Each record is written in one call.
        .with_writer(move || record::Records {
            writer: io::stderr(),
            format,
        })
        .with_ansi(io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(own))
        .with(level)
        .init();
    panic::set_hook(Box::new(log_panic));
}

/// Logs a panic as a record like any other: redacted, and in the format of the log.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let message = text
        .or_else(|| payload.downcast_ref().map(String::as_str))
        .unwrap_or_default();
    let location = panic.location().map(ToString::to_string);
    tracing::error!(
        error = redact::message(message, true),
        location,
        "panic: this is a defect of the server"
    );
}

/// Returns an error and its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Many errors include their cause in their own message.
        let message = error.to_string();
        if !text.contains(&message) {
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
    fn a_chain_is_one_line_without_repetitions() {
        let inner = io::Error::other("no\nspace");
        let error = Error::new(ErrorKind::StorageFull, "cannot write").with_source(inner);
        assert_eq!(chain(&error), "cannot write: no space");
        let outer = Error::new(ErrorKind::Internal, "failed: cannot write").with_source(error);
        assert_eq!(chain(&outer), "failed: cannot write: no space");
        let advice = Error::new(ErrorKind::Unavailable, "failed: no right; ask for it")
            .with_source(io::Error::other("no right"));
        assert_eq!(chain(&advice), "failed: no right; ask for it");
    }
}
