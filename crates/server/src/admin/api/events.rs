//! The operations on events.

use std::{fmt::Write as _, time::SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use kazoo_storage::{Body, Error, ErrorKind};
use kazoo_storage_ledger::{
    Ledger,
    audit::Action,
    events::{Backlog, EventState, Replay, Replayed, Retried, Selection},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    asked::{Answer, Asked},
    json,
    parameters::{body, invalid, time},
    receivers,
    trail::Trail,
    work,
};

/// Maximum number of events that are in memory at once.
const CHUNK: usize = 100;

/// Maximum length of the id of an event, in bytes: that of a UUID.
const MAX_ID: usize = 36;

pub(super) async fn list(ledger: &Ledger, mut asked: Asked<'_>) -> Answer {
    let parameters = &mut asked.parameters;
    let mut backlog = Backlog::new();
    if let Some(receiver) = parameters.text("receiver") {
        receivers::known(ledger, &receiver).await?;
        backlog = backlog.receiver(receiver);
    }
    backlog = match parameters.text("state").as_deref() {
        None => backlog,
        Some("waiting") => backlog.state(EventState::Waiting),
        Some("dead") => backlog.state(EventState::Dead),
        Some(_) => return Err(invalid("state", "must be `waiting` or `dead`")),
    };
    if let Some(account) = parameters.text("account") {
        backlog = backlog.account(account);
    }
    if let Some(since) = parameters.time("since")? {
        backlog = backlog.since(since);
    }
    backlog = match parameters.text("order").as_deref() {
        None | Some("newest") => backlog,
        Some("oldest") => backlog.oldest_first(),
        Some(_) => return Err(invalid("order", "must be `newest` or `oldest`")),
    };
    let limit = parameters.limit()?;
    if let Some(cursor) = parameters.number("cursor")? {
        backlog = backlog.after(cursor);
    }
    parameters.end()?;
    let mut listing = Listing {
        ledger: ledger.clone(),
        backlog,
        left: limit,
        text: "{\"events\":[".to_owned(),
        is_first: true,
        has_ended: false,
    };
    // An error at the start has a status.
    let first = listing.next().await?;
    let rest = stream::unfold(listing, |mut listing| async {
        if listing.has_ended {
            return None;
        }
        Some((listing.next().await, listing))
    });
    let chunks = stream::iter([Ok(first)]).chain(rest);
    Ok(json::response(Body::from_stream(chunks)))
}

/// A page of events that is written in chunks.
struct Listing {
    ledger: Ledger,
    backlog: Backlog,
    left: usize,
    /// The beginning of the next chunk.
    text: String,
    is_first: bool,
    has_ended: bool,
}

impl Listing {
    async fn next(&mut self) -> Result<String, Error> {
        let wanted = self.left.min(CHUNK);
        let events = self.ledger.backlog(self.backlog.clone(), wanted).await?;
        let mut text = std::mem::take(&mut self.text);
        for event in &events {
            if !std::mem::take(&mut self.is_first) {
                text.push(',');
            }
            text.push_str(&json::event(event, false).to_string());
        }
        self.left -= events.len().min(self.left);
        let last = events.last().map(|event| event.seq);
        if let Some(last) = last {
            self.backlog = self.backlog.clone().after(last);
        }
        if events.len() < wanted || self.left == 0 {
            let has_more = events.len() == wanted && !self.ledger.backlog(self.backlog.clone(), 1).await?.is_empty();
            let next = last.filter(|_| has_more).map(|seq| seq.to_string());
            let _ = write!(text, "],\"next\":{}}}", json!(next));
            self.has_ended = true;
        }
        Ok(text)
    }
}

pub(super) async fn show(ledger: &Ledger, mut asked: Asked<'_>) -> Answer {
    let id = asked.parameters.captured();
    let with_metadata = asked.parameters.flag("metadata")?;
    asked.parameters.end()?;
    let events = ledger.event(&id).await?;
    if events.is_empty() {
        return Err(unknown(&id));
    }
    let shown: Vec<_> = events.iter().map(|event| json::event(event, with_metadata)).collect();
    if !with_metadata {
        return Ok(json::response(json!({"events": shown}).to_string()));
    }
    let document = ledger.event_metadata(&id).await?;
    let document = document.map_or(Bytes::from_static(b"null"), |metadata| metadata.as_json().clone());
    // The document as it was uploaded.
    let parts = [
        Bytes::from(format!("{{\"events\":{},\"metadata\":", json!(shown))),
        document,
        Bytes::from_static(b"}"),
    ];
    let parts = stream::iter(parts.map(Ok::<_, Error>));
    Ok(json::response(Body::from_stream(parts)))
}

pub(super) async fn retry(ledger: &Ledger, mut asked: Asked<'_>) -> Answer {
    let id = event_id(&mut asked)?;
    let receiver = asked.parameters.text("receiver");
    let superseded = asked.parameters.flag("superseded")?;
    asked.parameters.end()?;
    let retrying = async {
        let selection = selection(&id, receiver.as_deref());
        match ledger.retry(selection, superseded, |_| ()).await {
            Ok(Retried { selected: 0, .. }) => Err(unknown(&id)),
            retried => retried,
        }
    };
    let trail = Trail::new(Some(ledger), &asked);
    let done = trail.run(Action::Retry, Some(&id), retrying).await?;
    tracing::info!(
        event = id,
        receiver,
        retried = done.retried,
        "the operator retries an event"
    );
    Ok(json::response(json::retried(done).to_string()))
}

pub(super) async fn discard(ledger: &Ledger, mut asked: Asked<'_>) -> Answer {
    let id = event_id(&mut asked)?;
    let receiver = asked.parameters.text("receiver");
    asked.parameters.end()?;
    let discarding = async {
        match ledger.discard(selection(&id, receiver.as_deref()), |_| ()).await {
            Ok(0) => Err(unknown(&id)),
            discarded => discarded,
        }
    };
    let trail = Trail::new(Some(ledger), &asked);
    let discarded = trail.run(Action::Discard, Some(&id), discarding).await?;
    tracing::warn!(event = id, receiver, discarded, "the operator has discarded an event");
    Ok(json::response(json!({"discarded": discarded}).to_string()))
}

fn selection(id: &str, receiver: Option<&str>) -> Selection {
    let selection = Selection::event(id);
    match receiver {
        Some(name) => selection.receiver(name),
        None => selection,
    }
}

/// The body of a request about dead events.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadRequest {
    receiver: Option<String>,
    account: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    superseded: bool,
}

impl DeadRequest {
    async fn dead(&self, ledger: &Ledger) -> Result<Selection, Error> {
        if !self.all && self.receiver.is_none() && self.account.is_none() {
            return Err(invalid(
                "receiver",
                "or `account` is missing; set `all` to `true` for every dead event",
            ));
        }
        let mut dead = Selection::dead();
        if let Some(receiver) = &self.receiver {
            receivers::known(ledger, receiver).await?;
            dead = dead.receiver(receiver);
        }
        if let Some(account) = &self.account {
            dead = dead.account(account);
        }
        Ok(dead)
    }
}

pub(super) async fn retry_dead(ledger: &Ledger, asked: Asked<'_>) -> Answer {
    asked.parameters.end()?;
    let trail = Trail::new(Some(ledger), &asked);
    let request: DeadRequest = body(asked.body).await?;
    let (dead, superseded, ledger) = (request.dead(ledger).await?, request.superseded, ledger.clone());
    work::response(&asked.call.state, |mut reporter| async move {
        let progress = |done: Retried| reporter.report(|| json::retried(done));
        let retrying = ledger.retry(dead, superseded, progress);
        let done = trail.run(Action::Retry, None, retrying).await?;
        let DeadRequest { receiver, account, .. } = request;
        tracing::info!(
            receiver,
            account,
            retried = done.retried,
            "the operator retries dead events"
        );
        Ok(json::retried(done))
    })
    .await
}

pub(super) async fn discard_dead(ledger: &Ledger, asked: Asked<'_>) -> Answer {
    asked.parameters.end()?;
    let trail = Trail::new(Some(ledger), &asked);
    let request: DeadRequest = body(asked.body).await?;
    if request.superseded {
        return Err(invalid("superseded", "is for retries"));
    }
    let (dead, ledger) = (request.dead(ledger).await?, ledger.clone());
    work::response(&asked.call.state, |mut reporter| async move {
        let progress = |discarded| reporter.report(|| json!({"discarded": discarded}));
        let discarding = ledger.discard(dead, progress);
        let discarded = trail.run(Action::Discard, None, discarding).await?;
        let DeadRequest { receiver, account, .. } = request;
        tracing::warn!(receiver, account, discarded, "the operator has discarded dead events");
        Ok(json!({"discarded": discarded}))
    })
    .await
}

/// The body of a request for a replay.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayRequest {
    since: String,
    until: Option<String>,
    account: Option<String>,
    receiver: Option<String>,
}

pub(super) async fn replay(ledger: &Ledger, asked: Asked<'_>) -> Answer {
    asked.parameters.end()?;
    let trail = Trail::new(Some(ledger), &asked);
    let request: ReplayRequest = body(asked.body).await?;
    let mut replay = Replay::since(time("since", &request.since)?);
    if let Some(until) = &request.until {
        replay = replay.until(time("until", until)?);
    }
    if let Some(account) = &request.account {
        replay = replay.account(account);
    }
    if let Some(receiver) = &request.receiver {
        replay = replay.receiver(receiver);
    }
    let ledger = ledger.clone();
    work::response(&asked.call.state, |mut reporter| async move {
        let replaying = ledger.replay(replay, |done| reporter.report(|| replayed(done)));
        let done = trail.run(Action::Replay, None, replaying).await?;
        let ReplayRequest {
            since,
            account,
            receiver,
            ..
        } = request;
        tracing::info!(
            since,
            receiver,
            account,
            queued = done.queued,
            "the operator has replayed files"
        );
        Ok(replayed(done))
    })
    .await
}

fn replayed(done: Replayed) -> serde_json::Value {
    // RFC 3339 ends with the year 9999, and the client may have sent a later time.
    let position = done
        .position
        .min(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799));
    json!({"files": done.files, "queued": done.queued, "position": json::time(position)})
}

/// Returns the id of the event in the path, which an entry of the audit trail will contain.
fn event_id(asked: &mut Asked<'_>) -> Result<String, Error> {
    let id = asked.parameters.captured();
    let is_possible = id.len() <= MAX_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
    if is_possible { Ok(id) } else { Err(unknown(&id)) }
}

fn unknown(id: &str) -> Error {
    let message = format!("no undelivered event has the id `{id}`: it was delivered or discarded, or never existed");
    Error::new(ErrorKind::NotFound, message)
}
