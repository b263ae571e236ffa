//! `files get`.

use std::{
    fs,
    io::{self, IsTerminal as _, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use http::{HeaderMap, Method};
use kazoo_storage::digest::Digester;
use tempfile::NamedTempFile;
use tokio::select;

use super::target;
use crate::{
    admin_client::AdminClient, cli::GetOptions, confirmation::UNCONFIRMED, printable::complain, signals::Signals,
};

/// The output that is stdout.
const STDOUT: &str = "-";

pub(super) async fn content(client: &AdminClient, options: &GetOptions) -> Result<ExitCode, String> {
    match &options.output {
        Some(path) if path.as_os_str() != STDOUT => to_file(client, &options.key, path, options.force).await,
        None if io::stdout().is_terminal() => Ok(unconfirmed(
            "the content would be shown on the terminal; pass --output FILE, or --output - to show it",
        )),
        _ => {
            copy(client, &options.key, &mut io::stdout()).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Stores the content beside `path` until it is complete. A signal removes it, so it must not end the process at once.
async fn to_file(client: &AdminClient, key: &str, path: &Path, force: bool) -> Result<ExitCode, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot write {}: {error}", path.display());
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Err(failed(&"it is not a regular file; use --output - for it")),
        Ok(_) if !force => {
            let message = format!("{} exists; to replace it, pass --force", path.display());
            return Ok(unconfirmed(&message));
        }
        _ => {}
    }
    let mut signals = Signals::new()?;
    let mut file = NamedTempFile::with_prefix_in(".kazoo-storage-", directory(path)).map_err(|error| failed(&error))?;
    select! {
        copied = copy(client, key, &mut file) => copied?,
        status = signals.received() => {
            complain(&format!("interrupted: {} was not written", path.display()));
            return Ok(status);
        }
    }
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    let persisted = if force {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    persisted.map_err(|error| failed(&error.error))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the directory of `path`.
pub(super) fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Writes the content of the file `key` to `output`, and compares it with its digest.
async fn copy(client: &AdminClient, key: &str, output: &mut impl Write) -> Result<(), String> {
    let cannot_write = |error: io::Error| format!("cannot write the content: {error}");
    let target = format!("{}/content", target(key));
    let mut response = client.send(Method::GET, &target, None).await?;
    let mut digester = Digester::new();
    while let Some(part) = response.part(usize::MAX).await? {
        digester.update(&part);
        output.write_all(&part).map_err(cannot_write)?;
    }
    output.flush().map_err(cannot_write)?;
    if is_other(&response.headers, digester) {
        return Err(
            "the content differs from its SHA-256: it was changed on the way, or is damaged in the store".to_owned(),
        );
    }
    Ok(())
}

/// Returns `true` if the response has another digest.
fn is_other(headers: &HeaderMap, digester: Digester) -> bool {
    let expected = headers.get("repr-digest");
    expected.is_some() && expected != digester.finish().repr_digest().as_ref()
}

fn unconfirmed(message: &str) -> ExitCode {
    complain(message);
    ExitCode::from(UNCONFIRMED)
}
