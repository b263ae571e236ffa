//! Who is let in: the file of `--access`, which is read again on SIGHUP.

use std::{fs, net::SocketAddr, path::PathBuf};

use kazoo_storage::{AccessRules, SharedAccessRules};
use tokio::signal::unix::{SignalKind, signal};

use crate::{cli::ServeOptions, log};

/// The rules of `--access`; none if there is no such file and none is needed.
pub(crate) fn rules(options: &ServeOptions) -> Result<Option<SharedAccessRules>, String> {
    if let Some(path) = &options.access {
        return Ok(Some(SharedAccessRules::new(read(path)?)));
    }
    if options.allow_anyone || is_loopback(options.listen) {
        return Ok(None);
    }
    let address = options.listen;
    Err(format!(
        "--listen {address} lets anyone who reaches it store and fetch everything; say with --access FILE who may, or with \
         --allow-anyone that it shall be so"
    ))
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn read(path: &PathBuf) -> Result<AccessRules, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read --access {shown}: {error}"))?;
    AccessRules::from_json(&text).map_err(|error| format!("--access {shown}: {}", log::chain(&error)))
}

/// Reads the file again on each SIGHUP. A file that is wrong changes nothing.
pub(crate) async fn reload(path: PathBuf, rules: SharedAccessRules) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be handled: --access is not read again");
        return;
    };
    while hangups.recv().await.is_some() {
        match read(&path) {
            Ok(read) => {
                rules.replace(read);
                tracing::info!(path = %path.display(), "access rules read again");
            }
            Err(error) => tracing::error!(error, "the access rules stay as they were"),
        }
    }
}
