//! SIGHUP: the files that say who is let in, and how connections are encrypted, are read again.

use kazoo_storage::SharedAccessRules;
use tokio::signal::unix::Signal;

use crate::{access, cli::ServeOptions, mount::Mount, tls::Tls};

/// Reads the files again, if there are any, on each of `hangups`. What is under way goes on as it began, and a file that is
/// wrong changes nothing.
pub(crate) async fn on(
    mut hangups: Signal,
    options: ServeOptions,
    mount: Mount,
    rules: Option<SharedAccessRules>,
    tls: Option<Tls>,
) {
    while hangups.recv().await.is_some() {
        if rules.is_none() && tls.is_none() {
            tracing::info!("nothing to read again: there is neither --access nor --tls-cert");
        }
        let access = rules
            .as_ref()
            .map(|rules| ("access rules", access::reload(&options, rules, &mount)));
        let tls = tls.as_ref().map(|tls| ("certificate", tls.reload()));
        for (what, reloaded) in access.into_iter().chain(tls) {
            match reloaded {
                Ok(()) => tracing::info!(what, "read again"),
                Err(error) => tracing::error!(what, error, "stays as it was"),
            }
        }
    }
}
