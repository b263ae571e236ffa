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
        let (count, shown) = if events.dead {
            dead(client, events).await?
        } else {
            selected(client, events).await?
        };
        if count == 0 {
            print("nothing to discard")?;
            return Ok(ExitCode::SUCCESS);
        }
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

/// Returns the number of the dead events, at most 1000, and how to show it.
async fn dead(client: &AdminClient, options: &DeadOptions) -> Result<(usize, String), String> {
    let parameters = query(&[
        ("state", Some("dead".to_owned())),
        ("receiver", options.receiver.clone()),
        ("account", options.account.clone()),
        ("limit", Some("1000".to_owned())),
    ]);
    let page = client.get(&format!("/v1/events?{parameters}")).await?;
    let more = if field(&page, "next").is_null() { "" } else { " or more" };
    let count = items(&page, "events").len();
    let shown = match count {
        1 => "1 dead event".to_owned(),
        count => format!("{count}{more} dead events"),
    };
    Ok((count, shown))
}

/// Shows the events with the ids, one for each receiver. Returns their number, and how to show it.
async fn selected(client: &AdminClient, options: &DeadOptions) -> Result<(usize, String), String> {
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
    if count > 0 {
        print_lines(&table.text(true))?;
    }
    let shown = match count {
        1 => "1 event".to_owned(),
        count => format!("{count} events"),
    };
    Ok((count, shown))
}

fn discarded(done: &Value) -> String {
    format!("{} discarded", number(done, "discarded"))
}
