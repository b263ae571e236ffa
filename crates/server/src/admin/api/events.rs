//! The operations on events.

use std::{fmt::Write as _, time::SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use kazoo_storage::{Body, Error, ErrorKind};
use kazoo_storage_ledger::{Backlog, Dead, EventState, Ledger, Replay, Replayed, Retried};
use serde::Deserialize;
use serde_json::json;

use super::{
    Answer, Asked, body, json,
    parameters::{invalid, time},
    receivers, work,
};

/// Number of events in a page, and its maximum.
const LIMITS: (i64, i64) = (100, 1000);

/// Maximum number of events that are in memory at once.
const CHUNK: usize = 100;

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
    let limit = parameters.number("limit")?.unwrap_or(LIMITS.0);
    if !(1..=LIMITS.1).contains(&limit) {
        return Err(invalid("limit", "must be a number from 1 to 1000"));
    }
    if let Some(cursor) = parameters.number("cursor")? {
        backlog = backlog.after(cursor);
    }
    parameters.end()?;
    let mut listing = Listing {
        ledger: ledger.clone(),
        backlog,
        left: usize::try_from(limit).unwrap_or_default(),
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
    let id = asked.parameters.captured();
    let receiver = asked.parameters.text("receiver");
    let superseded = asked.parameters.flag("superseded")?;
    asked.parameters.end()?;
    let done = ledger.retry_event(&id, receiver.as_deref(), superseded).await?;
    let done = done.ok_or_else(|| unknown(&id))?;
    tracing::info!(
        event = id,
        receiver,
        retried = done.retried,
        "the operator retries an event"
    );
    Ok(json::response(json::retried(done).to_string()))
}

pub(super) async fn discard(ledger: &Ledger, mut asked: Asked<'_>) -> Answer {
    let id = asked.parameters.captured();
    let receiver = asked.parameters.text("receiver");
    asked.parameters.end()?;
    let discarded = ledger.discard_event(&id, receiver.as_deref()).await?;
    if discarded == 0 {
        return Err(unknown(&id));
    }
    tracing::warn!(event = id, receiver, discarded, "the operator has discarded an event");
    Ok(json::response(json!({"discarded": discarded}).to_string()))
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
    async fn dead(&self, ledger: &Ledger) -> Result<Dead, Error> {
        if !self.all && self.receiver.is_none() && self.account.is_none() {
            return Err(invalid(
                "receiver",
                "or `account` is missing; set `all` to `true` for every dead event",
            ));
        }
        let mut dead = Dead::new();
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
    let request: DeadRequest = body(asked.body).await?;
    let (dead, superseded, ledger) = (request.dead(ledger).await?, request.superseded, ledger.clone());
    work::response(&asked.call.state, |mut reporter| async move {
        let progress = |done: Retried| reporter.report(|| json::retried(done));
        let done = ledger.retry_dead(dead, superseded, progress).await?;
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
    let request: DeadRequest = body(asked.body).await?;
    if request.superseded {
        return Err(invalid("superseded", "is for retries"));
    }
    let (dead, ledger) = (request.dead(ledger).await?, ledger.clone());
    work::response(&asked.call.state, |mut reporter| async move {
        let progress = |discarded| reporter.report(|| json!({"discarded": discarded}));
        let discarded = ledger.discard_dead(dead, progress).await?;
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
        let done = ledger.replay(replay, |done| reporter.report(|| replayed(done))).await?;
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
    // A time that no calendar has is one that the client has sent.
    let position = done
        .position
        .min(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799));
    json!({"files": done.files, "queued": done.queued, "position": json::time(position)})
}

fn unknown(id: &str) -> Error {
    let message = format!("no undelivered event has the id `{id}`: it was delivered or discarded, or never existed");
    Error::new(ErrorKind::NotFound, message)
}
