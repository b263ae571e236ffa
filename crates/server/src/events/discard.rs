//! `events discard`.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    list::{HEADINGS, row},
    selected::{all_dead, change_each},
};
use crate::{
    admin_client::{
        AdminClient, follow,
        values::{field, items, number, query, segment},
    },
    cli::{DeadOptions, DiscardOptions},
    confirmation::{UNCONFIRMED, is_confirmed},
    printable::{print, print_lines},
    table::Table,
};

pub(super) async fn events(client: &AdminClient, options: &DiscardOptions) -> Result<ExitCode, String> {
    let events = &options.events;
    if !options.yes {
        let shown = if events.dead {
            dead(client, events).await?
        } else {
            selected(client, events).await?
        };
        if !is_confirmed("Discard", &shown, "discarded")? {
            return Ok(ExitCode::from(UNCONFIRMED));
        }
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

/// Returns the number of the dead events.
async fn dead(client: &AdminClient, options: &DeadOptions) -> Result<String, String> {
    let parameters = query(&[
        ("state", Some("dead".to_owned())),
        ("receiver", options.receiver.clone()),
        ("account", options.account.clone()),
        ("limit", Some("1000".to_owned())),
    ]);
    let page = client.get(&format!("/v1/events?{parameters}")).await?;
    let more = if field(&page, "next").is_null() { "" } else { " or more" };
    Ok(match items(&page, "events").len() {
        1 => "1 dead event".to_owned(),
        count => format!("{count}{more} dead events"),
    })
}

/// Shows the events with the ids, one for each receiver, and returns their number.
async fn selected(client: &AdminClient, options: &DeadOptions) -> Result<String, String> {
    let (mut table, mut count) = (Table::new(HEADINGS), 0);
    for id in &options.ids {
        let shown = client.get(&format!("/v1/events/{}", segment(id))).await?;
        let events = items(&shown, "events").iter().filter(|event| {
            let receiver = options.receiver.as_deref();
            receiver.is_none() || field(event, "receiver").as_str() == receiver
        });
        for event in events {
            table.add(row(event));
            count += 1;
        }
    }
    print_lines(&table.text(true))?;
    Ok(match count {
        1 => "1 event".to_owned(),
        count => format!("{count} events"),
    })
}

fn discarded(done: &Value) -> String {
    format!("{} discarded", number(done, "discarded"))
}
