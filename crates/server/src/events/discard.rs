//! `events discard`.

use std::process::ExitCode;

use serde_json::Value;

use super::selected::{all_dead, change_each};
use crate::{
    admin_client::{
        AdminClient, follow,
        values::{field, items, number, query},
    },
    cli::DiscardOptions,
    confirmation::UNCONFIRMED,
    printable::print,
};

pub(super) async fn events(client: &AdminClient, options: &DiscardOptions) -> Result<ExitCode, String> {
    let events = &options.events;
    if events.dead && !options.yes {
        let parameters = query(&[
            ("state", Some("dead".to_owned())),
            ("receiver", events.receiver.clone()),
            ("account", events.account.clone()),
            ("limit", Some("1000".to_owned())),
        ]);
        let page = client.get(&format!("/v1/events?{parameters}")).await?;
        let count = items(&page, "events").len();
        let more = if field(&page, "next").is_null() { "" } else { " or more" };
        print(&format!(
            "{count}{more} dead events would be discarded; to do it, pass --yes"
        ))?;
        return Ok(ExitCode::from(UNCONFIRMED));
    }
    let done = if events.dead {
        follow(
            client,
            "/v1/events/discard",
            Some(all_dead(events)),
            discarded,
            |_, _| Ok(false),
        )
        .await?
    } else {
        let parameters = query(&[("receiver", events.receiver.clone())]);
        change_each(client, &events.ids, "discard", &parameters).await?
    };
    print(&discarded(&done))?;
    Ok(ExitCode::SUCCESS)
}

fn discarded(done: &Value) -> String {
    format!("{} discarded", number(done, "discarded"))
}
