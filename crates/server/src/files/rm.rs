//! `files rm`.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    list::{HEADINGS, row},
    stat, target,
};
use crate::{
    admin_client::{
        AdminClient,
        values::{field, items},
    },
    confirmation::{UNCONFIRMED, is_confirmed},
    printable::{complain, print, print_lines},
    table::Table,
};

/// The key of a file, and its entity tag.
type Known = (String, Option<String>);

pub(super) async fn files(client: &AdminClient, keys: &[String], yes: bool) -> Result<ExitCode, String> {
    // The others are removed even if a file is already gone, so an interrupted command can be repeated.
    let mut status = ExitCode::SUCCESS;
    let files = if yes {
        keys.iter().map(|key| (key.clone(), None)).collect()
    } else {
        let Some(files) = confirmed(client, keys, &mut status).await? else {
            return Ok(ExitCode::from(UNCONFIRMED));
        };
        files
    };
    for (key, etag) in files {
        match remove(client, &key, etag.as_deref()).await {
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

/// Shows the files, and asks whether to remove them. Returns the keys of those that exist and are not held, each with its entity tag, so
/// that no other file is removed, or `None` without a confirmation.
async fn confirmed(client: &AdminClient, keys: &[String], status: &mut ExitCode) -> Result<Option<Vec<Known>>, String> {
    let (mut files, mut known) = (Table::new(HEADINGS), Vec::with_capacity(keys.len()));
    for key in keys {
        let shown = match client.get(&target(key)).await {
            Ok(shown) => shown,
            Err(error) => {
                complain(&error);
                *status = ExitCode::FAILURE;
                continue;
            }
        };
        let file = field(&shown, "file");
        if let Some(hold) = items(file, "holds").first() {
            complain(&format!("{key} is held by the hold {}", stat::hold(hold)));
            *status = ExitCode::FAILURE;
            continue;
        }
        files.add(row(file));
        known.push((key.clone(), field(file, "etag").as_str().map(str::to_owned)));
    }
    if known.is_empty() {
        return Ok(Some(known));
    }
    print_lines(&files.text(true))?;
    let count = match known.len() {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    Ok(is_confirmed("Remove", &count, "removed")?.then_some(known))
}
