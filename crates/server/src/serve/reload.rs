//! SIGHUP: the files that say who is let in, and how connections are encrypted, are read again.

use std::sync::Arc;

use kazoo_storage::SharedAccessRules;
use tokio::{signal::unix::Signal, task::spawn_blocking};

use super::access;
use crate::{cli::ServeOptions, log::Mount, net::tls::Tls};

/// Reads the files again, if there are any, on each of `hangups`. What is under way goes on as it began, and a file that is
/// wrong changes nothing.
pub(crate) async fn on(
    mut hangups: Signal,
    options: ServeOptions,
    mount: Mount,
    rules: Option<SharedAccessRules>,
    tls: Option<Tls>,
) {
    let options = Arc::new(options);
    while hangups.recv().await.is_some() {
        if rules.is_none() && tls.is_none() {
            tracing::info!("nothing to read again: there is neither --access nor --tls-cert");
        }
        let (options, mount, rules, tls) = (Arc::clone(&options), mount.clone(), rules.clone(), tls.clone());
        // Reading may take long; the runtime serves requests meanwhile.
        let read = spawn_blocking(move || {
            if let Some(rules) = rules {
                log("access rules", access::reload(&options, &rules, &mount));
            }
            if let Some(tls) = tls {
                log("certificate", tls.reload());
            }
        });
        if let Err(error) = read.await {
            tracing::error!(%error, "the files were not read again");
        }
    }
}

fn log(what: &str, reloaded: Result<(), String>) {
    match reloaded {
        Ok(()) => tracing::info!(what, "read again"),
        Err(error) => tracing::error!(what, error, "stays as it was"),
    }
}
