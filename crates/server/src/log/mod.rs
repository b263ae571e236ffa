//! The log: structured lines on stderr.
//!
//! It never contains a request's query: KAZOO's fetches carry callers' names and numbers there. Names from a request
//! are logged only as far as [`mask`] permits. Secrets of the access rules are concealed in those names and in each
//! complete record.

pub(crate) mod mask;
mod mount;

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, IsTerminal as _},
    sync::OnceLock,
};

use clap::ValueEnum;
use kazoo_storage::{Begun, BlobKey, End, ErrorKind, Event, Events, KazooSettings, Outcome, SharedAccessRules};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{LevelFilter, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use self::mount::spelled;
pub(crate) use self::mount::{Mount, looks_secret};

/// How a record is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text each
    Text,
    /// One JSON object each
    Json,
}

/// The access rules whose secrets the log conceals.
static RULES: OnceLock<SharedAccessRules> = OnceLock::new();

/// Conceals the secrets of `rules` in every record from now on.
pub(crate) fn conceal(rules: &SharedAccessRules) {
    // The process has a single set of rules.
    let _ = RULES.set(rules.clone());
}

/// Writes complete records with their secrets concealed.
struct Concealing<W>(W);

impl<W: io::Write> io::Write for Concealing<W> {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        match RULES.get() {
            Some(rules) => self.0.write_all(&rules.current().conceal_record(record))?,
            None => self.0.write_all(record)?,
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

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
        // Each record is written in one call.
        .with_writer(|| Concealing(io::stderr()))
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

/// Logs a line for each request that is over, and at `debug` one for each that begins.
pub(crate) struct Requests {
    /// Where the files are.
    pub(crate) mount: Mount,
    /// What says which part of a key is the account.
    pub(crate) settings: Option<KazooSettings>,
    /// Whether the line has the file's key; it does not belong there when it is a part of the metadata.
    pub(crate) keys: bool,
    /// What says whether paths have a secret behind the mount.
    pub(crate) access: Option<SharedAccessRules>,
}

impl Requests {
    /// What of `path` may be shown.
    fn shown(&self, path: &str) -> String {
        let path = spelled(path);
        match &self.access {
            Some(rules) => self.mount.mask(&rules.current().redact(self.mount.path(), &path)),
            None => self.mount.mask(&path),
        }
    }

    fn account(&self, key: &BlobKey) -> Option<String> {
        let account = match &self.settings {
            Some(settings) => settings.fields(key).account,
            None => key.segments().next().map(str::to_owned),
        };
        account.filter(|account| mask::is_account(&self.hide(account)))
    }

    /// Returns `text`, such as a key or a part of one, without anything that may be a secret.
    fn hide(&self, text: &str) -> String {
        let shown = self.mount.hide(text);
        match &self.access {
            Some(rules) => rules.current().conceal(&shown).into_owned(),
            None => shown,
        }
    }
}

impl Events for Requests {
    fn begun(&self, request: &Begun<'_>) {
        tracing::debug!(
            target: concat!(env!("CARGO_CRATE_NAME"), "::request"),
            request_id = self.hide(request.request_id),
            method = mask::method(request.method),
            path = self.shown(request.path),
            "begun"
        );
    }

    fn finished(&self, event: &Event<'_>) {
        let (outcome, len, error) = match event.outcome {
            Some(Outcome::Stored { len, .. }) => ("stored", Some(*len), None),
            Some(Outcome::Fetched { len, .. }) => ("fetched", Some(*len), None),
            Some(Outcome::Referred { .. }) => ("referred", None, None),
            Some(Outcome::Probed { .. }) => ("probed", None, None),
            Some(Outcome::Failed { error, .. }) => (error.kind().as_str(), None, Some(error)),
            _ => ("none", None, None),
        };
        let error = error.or(event.error);
        // The cause is the operator's business where the fault may be on this side.
        let ours = error.is_some_and(|error| error.status().is_server_error());
        let error = error.map(|error| {
            let text = if ours { chain(error) } else { error.message().to_owned() };
            mask::message(
                &text,
                matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable),
            )
        });
        let end = match event.end {
            End::Whole => "whole",
            End::Dropped => "dropped",
            _ => "failed",
        };
        let path = self.shown(event.path);
        let request_id = self.hide(event.request_id);
        let key = event.outcome.and_then(Outcome::key).filter(|_| self.keys);
        let account = key.and_then(|key| self.account(key));
        let key = key.map(|key| mask::path(&self.hide(&key.to_string())));
        let elapsed_ms = (event.elapsed.as_secs_f64() * 1e6).round() / 1e3;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: concat!(env!("CARGO_CRATE_NAME"), "::request"),
                    request_id,
                    method = mask::method(event.method),
                    path,
                    status = event.status.map(|status| status.as_u16()),
                    outcome,
                    account,
                    key,
                    len,
                    bytes_in = event.bytes_in,
                    bytes_out = event.bytes_out,
                    elapsed_ms,
                    end,
                    error,
                    "request"
                )
            };
        }
        match event.status {
            Some(status) if ours || status.is_server_error() => line!(error),
            Some(status) if !status.is_client_error() && event.end == End::Whole => line!(info),
            _ => line!(warn),
        }
    }
}

/// An error and its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Many errors say their cause themselves.
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
    fn a_chain_is_one_line_and_says_nothing_twice() {
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
