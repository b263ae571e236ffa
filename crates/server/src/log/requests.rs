//! [`Requests`]: the log lines of requests.

use kazoo_storage::{
    BlobKey, ErrorKind, Event, Outcome,
    observe::{End, Events, Started},
    settings::KazooSettings,
};

use super::{
    chain,
    redact::{self, Redactor},
};

/// Logs a line for each finished request, and at `debug` one for each that starts.
pub(crate) struct Requests {
    pub(crate) redactor: Redactor,
    /// Define the part of a key that is the account.
    pub(crate) settings: Option<KazooSettings>,
    /// `true` if lines include the file's key. A key that is part of the metadata is not logged.
    pub(crate) keys: bool,
}

impl Requests {
    fn account(&self, key: &BlobKey) -> Option<String> {
        let account = match &self.settings {
            Some(settings) => settings.fields(key).account,
            None => key.segments().next().map(str::to_owned),
        };
        account.filter(|account| redact::is_account(&self.redactor.value(account)))
    }
}

impl Events for Requests {
    fn started(&self, request: &Started<'_>) {
        tracing::debug!(
            target: concat!(env!("CARGO_CRATE_NAME"), "::request"),
            request_id = self.redactor.value(request.request_id),
            method = redact::method(request.method),
            path = self.redactor.path(request.path),
            "request started"
        );
    }

    fn finished(&self, event: &Event<'_>) {
        let (outcome, len, error) = match event.outcome {
            Some(Outcome::Stored { len, .. }) => ("stored", Some(*len), None),
            Some(Outcome::Fetched { len, .. }) => ("fetched", Some(*len), None),
            Some(Outcome::Described { .. }) => ("described", None, None),
            Some(Outcome::NotModified { .. }) => ("not_modified", None, None),
            Some(Outcome::Redirected { .. }) => ("redirected", None, None),
            Some(Outcome::Probed { .. }) => ("probed", None, None),
            Some(Outcome::Failed { error, .. }) => (error.kind().as_str(), None, Some(error)),
            _ => ("none", None, None),
        };
        let error = error.or(event.error);
        // The response omits the causes of the server's own failures; the log contains them.
        let ours = error.is_some_and(|error| error.status().is_server_error());
        let error = error.map(|error| {
            let text = if ours { chain(error) } else { error.message().to_owned() };
            redact::message(
                &text,
                matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable),
            )
        });
        let (completed, aborted_by) = match event.end {
            End::Complete => (true, None),
            End::Disconnected => (false, Some("client")),
            _ => (false, Some("server")),
        };
        let path = self.redactor.path(event.path);
        let request_id = self.redactor.value(event.request_id);
        let credential = event.credential;
        let key = event.outcome.and_then(Outcome::key).filter(|_| self.keys);
        let account = key.and_then(|key| self.account(key));
        let key = key.map(|key| redact::path(&self.redactor.value(&key.to_string())));
        let elapsed_ms = (event.elapsed.as_secs_f64() * 1e6).round() / 1e3;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: concat!(env!("CARGO_CRATE_NAME"), "::request"),
                    request_id,
                    method = redact::method(event.method),
                    path,
                    status = event.status.map(|status| status.as_u16()),
                    credential,
                    outcome,
                    account,
                    key,
                    len,
                    bytes_in = event.bytes_in,
                    bytes_out = event.bytes_out,
                    elapsed_ms,
                    completed,
                    aborted_by,
                    error,
                    "request"
                )
            };
        }
        match event.status {
            Some(status) if ours || status.is_server_error() => line!(error),
            Some(status) if !status.is_client_error() && completed => line!(info),
            _ => line!(warn),
        }
    }
}
