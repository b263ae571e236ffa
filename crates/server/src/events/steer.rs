//! `events retry`, `events discard`, `events replay` and `events receivers rm`.

use std::{collections::BTreeMap, process::ExitCode};

use http::Method;
use serde_json::{Value, json};

use crate::{
    admin_client::{
        AdminClient, follow,
        values::{field, items, number, query, segment, text, time},
    },
    cli::{DeadOptions, DiscardOptions, ReplayOptions, RetryOptions},
    confirmation::UNCONFIRMED,
    printable::print,
};

pub(super) async fn retry(client: &AdminClient, options: &RetryOptions) -> Result<ExitCode, String> {
    let done = if options.events.dead {
        let mut body = dead(&options.events);
        if let Some(body) = body.as_object_mut() {
            body.insert("superseded".to_owned(), options.superseded.into());
        }
        follow(client, "/v1/events/retry", Some(body), retried, |_, _| Ok(false)).await?
    } else {
        let superseded = options.superseded.then(|| "true".to_owned());
        let parameters = [
            ("receiver", options.events.receiver.clone()),
            ("superseded", superseded),
        ];
        each(client, &options.events.ids, "retry", &query(&parameters)).await?
    };
    print(&retried(&done))?;
    if number(&done, "superseded") > 0 {
        eprintln!(
            "the others stay dead: their receivers have later events of the same files; discard them, or pass --superseded"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn retried(done: &Value) -> String {
    format!(
        "{} retried, {} superseded",
        number(done, "retried"),
        number(done, "superseded")
    )
}

pub(super) async fn discard(client: &AdminClient, options: &DiscardOptions) -> Result<ExitCode, String> {
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
        follow(client, "/v1/events/discard", Some(dead(events)), discarded, |_, _| {
            Ok(false)
        })
        .await?
    } else {
        let parameters = query(&[("receiver", events.receiver.clone())]);
        each(client, &events.ids, "discard", &parameters).await?
    };
    print(&discarded(&done))?;
    Ok(ExitCode::SUCCESS)
}

fn discarded(done: &Value) -> String {
    format!("{} discarded", number(done, "discarded"))
}

pub(super) async fn replay(client: &AdminClient, options: &ReplayOptions) -> Result<ExitCode, String> {
    let body = json!({
        "since": time(options.since),
        "until": options.until.map(time),
        "account": options.account,
        "receiver": options.receiver,
    });
    let line = |done: &Value| {
        let (files, queued) = (number(done, "files"), number(done, "queued"));
        format!(
            "{files} files, {queued} events queued, up to {}",
            text(field(done, "position"))
        )
    };
    let done = follow(client, "/v1/events/replay", Some(body), line, |_, _| Ok(false)).await?;
    print(&line(&done))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn remove(client: &AdminClient, name: &str, yes: bool) -> Result<ExitCode, String> {
    let target = format!("/v1/receivers/{}", segment(name));
    let receiver = client.get(&target).await?;
    let (waiting, dead) = (number(&receiver, "waiting"), number(&receiver, "dead"));
    if waiting + dead > 0 && !yes {
        print(&format!(
            "{name} has {waiting} waiting and {dead} dead events, which would be lost; to remove it, pass --yes"
        ))?;
        return Ok(ExitCode::from(UNCONFIRMED));
    }
    let done: Value = client.send(Method::DELETE, &target, None).await?.json().await?;
    print(&format!("{name} removed, with {} events", number(&done, "events")))?;
    Ok(ExitCode::SUCCESS)
}

fn dead(options: &DeadOptions) -> Value {
    json!({
        "receiver": options.receiver,
        "account": options.account,
        "all": options.receiver.is_none() && options.account.is_none(),
    })
}

/// Changes each of the events `ids`. Returns the sums of the results.
async fn each(client: &AdminClient, ids: &[String], verb: &str, parameters: &str) -> Result<Value, String> {
    let mut sums = BTreeMap::<String, u64>::new();
    for id in ids {
        let target = format!("/v1/events/{}/{verb}?{parameters}", segment(id));
        let done: Value = client.send(Method::POST, &target, None).await?.json().await?;
        for (name, value) in done.as_object().into_iter().flatten() {
            *sums.entry(name.clone()).or_default() += value.as_u64().unwrap_or_default();
        }
    }
    Ok(json!(sums))
}
