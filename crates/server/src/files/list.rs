//! `files list`.

use std::process::ExitCode;

use serde_json::Value;

use crate::{
    admin_client::{
        AdminClient, Listing,
        values::{texts, time},
    },
    cli::{FileSelection, ListFilesOptions},
};

/// The headings of a table of files.
pub(super) const HEADINGS: &[&str] = &["STORED", "KIND", "SIZE", "KEY"];

pub(super) async fn files(client: &AdminClient, options: &ListFilesOptions) -> Result<ExitCode, String> {
    let listing = Listing {
        path: "/v1/files",
        items: "files",
        parameters: parameters(&options.selection),
        body: None,
        limit: options.limit,
        json: options.json,
        headings: HEADINGS,
        row,
    };
    listing.print(client).await
}

/// Returns the parameters of a search for the files of `selection`.
pub(super) fn parameters(selection: &FileSelection) -> Vec<(&'static str, Option<String>)> {
    let conditions = &selection.conditions;
    vec![
        ("account", conditions.account.clone()),
        ("document", conditions.document.clone()),
        ("kind", selection.kind.map(|kind| kind.name().to_owned())),
        ("since", conditions.since.map(time)),
        ("until", conditions.until.map(time)),
        ("number", conditions.number.clone()),
        ("call_id", conditions.call_id.clone()),
        ("all", selection.all.then(|| "true".to_owned())),
    ]
}

/// Returns the row of `file` in a table of files.
pub(super) fn row(file: &Value) -> Vec<String> {
    texts(file, &["stored_at", "kind", "size", "key"])
}
