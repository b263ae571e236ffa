//! `files rm`.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use serde_json::Value;

use super::{
    UNCONFIRMED,
    list::{row, table},
    target,
};
use crate::{
    admin_client::{AdminClient, values::field},
    printable::{complain, print, print_lines},
};

pub(super) async fn files(client: &AdminClient, keys: &[String], yes: bool) -> Result<ExitCode, String> {
    let etags = if yes {
        vec![None; keys.len()]
    } else {
        let Some(etags) = confirmed(client, keys).await? else {
            return Ok(ExitCode::from(UNCONFIRMED));
        };
        etags
    };
    let mut status = ExitCode::SUCCESS;
    for (key, etag) in keys.iter().zip(etags) {
        // The others are removed also if this one is already gone, so an interrupted command can be repeated.
        match remove(client, key, etag.as_deref()).await {
            Ok(()) => print(&format!("{key} removed"))?,
            Err(error) => {
                complain(&error);
                status = ExitCode::FAILURE;
            }
        }
    }
    Ok(status)
}

async fn remove(client: &AdminClient, key: &str, etag: Option<&str>) -> Result<(), String> {
    let removed = client.delete(&target(key), etag).await?;
    removed.json::<Value>().await.map(drop)
}

/// Shows the files, and asks whether to remove them. Returns the entity tag of each, so that no other file is removed, or `None`
/// without a confirmation.
async fn confirmed(client: &AdminClient, keys: &[String]) -> Result<Option<Vec<Option<String>>>, String> {
    let (mut files, mut etags) = (table(), Vec::with_capacity(keys.len()));
    for key in keys {
        let shown = client.get(&target(key)).await?;
        let file = field(&shown, "file");
        files.add(row(file));
        etags.push(field(file, "etag").as_str().map(str::to_owned));
    }
    print_lines(&files.text(true))?;
    let count = match keys.len() {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    if !io::stdin().is_terminal() {
        print(&format!("{count} would be removed; to do it, pass --yes"))?;
        return Ok(None);
    }
    eprint!("Remove {count}? This cannot be undone. [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.map_err(|error| format!("cannot read the answer: {error}"))?;
    let is_confirmed = ["y", "yes"].contains(&answer.trim().to_lowercase().as_str());
    Ok(is_confirmed.then_some(etags))
}
