//! `audit list`.

use std::process::ExitCode;

use crate::{
    admin_client::{
        AdminClient, Listing,
        values::{texts, time},
    },
    cli::ListAuditOptions,
};

pub(super) async fn entries(client: &AdminClient, options: &ListAuditOptions) -> Result<ExitCode, String> {
    let listing = Listing {
        path: "/v1/audit",
        items: "entries",
        parameters: vec![
            ("since", options.since.map(time)),
            ("until", options.until.map(time)),
            ("name", options.name.clone()),
            ("action", options.action.clone()),
            ("key", options.key.clone()),
            ("account", options.account.clone()),
        ],
        body: None,
        limit: options.limit,
        json: options.json,
        headings: &["SEQ", "TIME", "NAME", "ADDRESS", "ACTION", "OUTCOME", "KEY"],
        row: |entry| texts(entry, &["seq", "time", "name", "address", "action", "outcome", "key"]),
    };
    listing.print(client).await
}
