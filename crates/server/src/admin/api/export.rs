//! The beginning of an export: the list of its files, with their metadata.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{StreamExt as _, stream};
use kazoo_storage::{BlobKey, Body, Error};
use kazoo_storage_ledger::{FileRecord, Ledger, Search, audit::Action};
use serde_json::json;

use super::{
    asked::{Answer, Asked},
    files, json,
    trail::{BEGUN, Trail},
};
use crate::admin::connections::State;

/// Number of files that are searched together.
const PAGE: usize = 256;

/// Number of documents that are read at once. They are held in memory.
const CONCURRENT: usize = 4;

/// The rest of a list.
struct List {
    ledger: Ledger,
    search: Search,
    keys: VecDeque<BlobKey>,
    /// The last file of the page before.
    last: Option<FileRecord>,
    /// There is no further page.
    is_last_page: bool,
    files: u64,
    state: Arc<State>,
}

/// Lists the files as JSON lines, each with `file` and `metadata`. The last line has their number, or the error.
pub(super) async fn list(ledger: &Ledger, mut asked: Asked<'_>) -> Answer {
    let search = files::search(&mut asked.parameters)?;
    asked.parameters.end()?;
    Trail::new(Some(ledger), &asked)
        .record(Action::Export, None, BEGUN)
        .await?;
    tracing::info!("the operator has begun an export");
    let mut list = List {
        ledger: ledger.clone(),
        search: search.without_metadata(),
        keys: VecDeque::new(),
        last: None,
        is_last_page: false,
        files: 0,
        state: Arc::clone(&asked.call.state),
    };
    // An error before the first line is the response.
    let first = list.lines().await?;
    let rest = stream::unfold(Some(list), |list| async move {
        let mut list = list?;
        list.state.progressed();
        Some(match list.lines().await {
            Ok(Some(lines)) => (lines, Some(list)),
            Ok(None) => (format!("{}\n", json!({"files": list.files, "done": true})), None),
            Err(error) => (error.to_json() + "\n", None),
        })
    });
    let lines = stream::iter(first).chain(rest).map(Ok::<_, Error>);
    Ok(json::typed("application/x-ndjson", Body::from_stream(lines)))
}

impl List {
    /// Returns the next lines, or `None` at the end.
    async fn lines(&mut self) -> Result<Option<String>, Error> {
        if self.keys.is_empty() && !self.is_last_page {
            let search = match self.last.take() {
                Some(last) => self.search.clone().after(last.stored_at, &last.key),
                None => self.search.clone(),
            };
            let page = self.ledger.search(search, PAGE).await?;
            self.is_last_page = page.len() < PAGE;
            self.last = page.last().cloned();
            self.keys = page.into_iter().map(|file| file.key).collect();
        }
        if self.keys.is_empty() {
            return Ok(None);
        }
        let count = CONCURRENT.min(self.keys.len());
        let keys: Vec<_> = self.keys.drain(..count).collect();
        let ledger = &self.ledger;
        let found: Vec<_> = stream::iter(keys)
            .map(|key| async move { ledger.file(&key).await })
            .buffered(CONCURRENT)
            .collect()
            .await;
        let mut lines = String::new();
        for file in found {
            // Another request may have removed it.
            let Some(file) = file? else { continue };
            self.files += 1;
            lines += &line(&file);
        }
        Ok(Some(lines))
    }
}

/// Returns the line of `file`.
fn line(file: &FileRecord) -> String {
    let document = file.metadata.as_ref().map(kazoo_storage::Metadata::as_json);
    let document = document.map_or("null".into(), |json| String::from_utf8_lossy(json));
    // JSON has line ends only between its tokens.
    let document = document.replace(['\n', '\r'], " ");
    format!("{{\"file\":{},\"metadata\":{document}}}\n", json::file(file, false))
}
