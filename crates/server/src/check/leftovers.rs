//! [`Leftovers`]: the files that a check stored, and their removal with `--clean`.

use std::{collections::BTreeMap, mem};

use bytes::Bytes;
use http::{Method, Response};
use kazoo_storage::BlobKey;
use kazoo_storage_client::{Attachment, Client, Dialect, Handler, Outgoing, StorageUrl};

use super::{response::describe, sample::DOCUMENT, scenario::Scenario, secrets::Secrets};

/// The maximum number of files listed in the text report.
const MAX_LISTED: usize = 12;

/// The files that the check leaves behind, indexed by key.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    files: BTreeMap<String, Vec<Outgoing>>,
    /// The credentials probes, which kazoo-storage answers without storing anything.
    probes: BTreeMap<String, Vec<Outgoing>>,
    /// The number of files that `--clean` removed, or `None` without that flag.
    removed: Option<usize>,
    /// The response for the first file that was not removed.
    refused: Option<String>,
}

impl Leftovers {
    /// Records that `file` was stored at `url`.
    pub(crate) fn stored(&mut self, scenario: &Scenario, url: &StorageUrl, file: &Attachment) {
        add(&mut self.files, entry(&scenario.handler, scenario.dialect, url, file));
    }

    /// Records that the credentials probe was sent to `url`.
    pub(crate) fn probed(&mut self, scenario: &Scenario, url: &StorageUrl, file: &Attachment) {
        add(&mut self.probes, entry(&scenario.handler, scenario.dialect, url, file));
    }

    /// Drops the credentials probes if kazoo-storage answered them, and counts them as files otherwise.
    pub(crate) fn settle(&mut self, by_kazoo_storage: bool) {
        let probes = mem::take(&mut self.probes);
        if !by_kazoo_storage {
            self.files.extend(probes);
        }
    }

    /// Sends a DELETE for each file that has a URL of its own.
    pub(crate) async fn clean(&mut self, client: &mut Client, secrets: &Secrets) {
        let mut removed = 0;
        for (key, removals) in mem::take(&mut self.files) {
            let mut is_left = removals.is_empty();
            for removal in &removals {
                if let Err(answer) = remove(client, removal).await {
                    let answer = answer.map(|answer| describe(&answer, secrets));
                    self.refused = self.refused.take().or(answer);
                    is_left = true;
                }
            }
            if is_left {
                self.files.insert(key, removals);
            } else {
                removed += 1;
            }
        }
        self.removed = Some(removed);
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    pub(crate) fn removed(&self) -> Option<usize> {
        self.removed
    }

    /// Describes the files that remain and how to remove them.
    pub(crate) fn text(&self, account: &str) -> String {
        let mut lines = Vec::new();
        if let Some(removed) = self.removed.filter(|removed| *removed > 0) {
            lines.push(format!("removed {removed} files that the check stored"));
        }
        let left = self.files.len();
        if left > 0 {
            lines.push(format!("{left} files that the check stored remain on the server:"));
            lines.extend(self.keys().take(MAX_LISTED).map(|key| format!("  {key}")));
            if left > MAX_LISTED {
                lines.push(format!("  … and {} more: use --json to list all", left - MAX_LISTED));
            }
            lines.push(match (self.removed, &self.refused) {
                (None, _) => {
                    "To remove them, run `check --clean` if the server accepts DELETE; kazoo-storage does not."
                        .to_owned()
                }
                (Some(_), Some(answer)) => format!("The server refuses to remove them with DELETE ({answer})."),
                (Some(_), None) => {
                    "They have no URL of their own to send a DELETE to, or the DELETE failed.".to_owned()
                }
            });
            lines.push(
                "To remove them from a kazoo-storage server with --admin, and from its ledger: kazoo-storage files rm --yes KEY…"
                    .to_owned(),
            );
            lines.push(format!(
                "To remove them from the directory of one without --admin, whose ledger keeps their rows: find DIRECTORY \
                 -path '*/{account}/*' -name '{DOCUMENT}*' -prune -exec rm -r {{}} +"
            ));
        }
        lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}

/// Adds a file. Two URLs with one key are two files on a server that does not decode its targets.
fn add(files: &mut BTreeMap<String, Vec<Outgoing>>, (key, removal): (String, Option<Outgoing>)) {
    let removals = files.entry(key).or_default();
    let is_new = |removal: &Outgoing| {
        let target = removal.request.uri();
        removals.iter().all(|known| known.request.uri() != target)
    };
    if let Some(removal) = removal.filter(is_new) {
        removals.push(removal);
    }
}

/// Returns the key of `file` below the URL of the settings and, if the file has a URL of its own, the request that
/// removes it.
fn entry(handler: &Handler, dialect: &Dialect, url: &StorageUrl, file: &Attachment) -> (String, Option<Outgoing>) {
    let base = handler.url().as_str();
    let own = handler.url_of(dialect, file);
    let name = own.as_str().get(base.trim_end_matches('/').len()..).unwrap_or_default();
    // A name ends at `&` if the settings put it into the query, and otherwise at the query that a `field_list` adds.
    let ends: &[char] = if handler.url().query().is_some() {
        &['&', '#']
    } else {
        &['?', '#']
    };
    let name = name.split(ends).next().unwrap_or_default();
    let id = file.document().id().unwrap_or_default();
    let key = match BlobKey::from_path(name) {
        Ok(key) => key.to_string(),
        // Every file has this URL; only the document distinguishes them.
        Err(_) => id.to_owned(),
    };
    // A URL without the document id in its path may address other files too.
    let path = url.path();
    let is_own = !id.is_empty() && path.split('/').any(|segment| segment.contains(id)) && !path.ends_with('/');
    let removal = is_own
        .then(|| handler.fetch(&Dialect::KAZOO_4_0, url, file).ok())
        .flatten();
    let removal = removal.map(|mut outgoing| {
        *outgoing.request.method_mut() = Method::DELETE;
        outgoing
    });
    (key, removal)
}

/// Removes a file; returns the response if the file still exists.
async fn remove(client: &mut Client, removal: &Outgoing) -> Result<(), Option<Response<Bytes>>> {
    let answer = client.send(removal).await.map_err(|_| None)?;
    if !answer.status().is_success() && !matches!(answer.status().as_u16(), 404 | 410) {
        return Err(Some(answer));
    }
    // Some servers answer 200 to any unknown request.
    let mut fetch = removal.clone();
    *fetch.request.method_mut() = Method::GET;
    match client.send(&fetch).await {
        Ok(fetched) if matches!(fetched.status().as_u16(), 404 | 410) => Ok(()),
        _ => Err(Some(answer)),
    }
}
