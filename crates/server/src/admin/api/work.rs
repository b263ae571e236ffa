//! Long work, whose response shows its progress.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::stream;
use kazoo_storage::{Body, Error};
use serde_json::{Value, json};
use tokio::{select, sync::mpsc};

use super::{asked::Answer, json};
use crate::admin::connections::State;

/// Minimum interval between two lines.
const INTERVAL: Duration = Duration::from_millis(200);

/// A line of the response.
enum Line {
    Progress(Value),
    End(Result<Value, Error>),
}

/// Shows the progress of work to the client.
#[derive(Clone)]
pub(super) struct Reporter {
    lines: mpsc::Sender<Line>,
    last: Option<Instant>,
}

impl Reporter {
    /// Sends `value`, which is a part of the result, and waits until there is room for it.
    pub(super) async fn line(&self, value: Value) {
        // Without a client, the work ends.
        let _ = self.lines.send(Line::Progress(value)).await;
    }

    /// Sends the JSON that `value` returns, if the last one is old enough. A client that is slow misses some.
    pub(super) fn report(&mut self, value: impl FnOnce() -> Value) {
        if self.last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.last = Some(Instant::now());
            let _ = self.lines.try_send(Line::Progress(value()));
        }
    }

    /// Sends JSON that no client misses. Waits for a client that is slow.
    pub(super) fn send(&self, value: Value) -> impl Future<Output = ()> + use<> {
        let lines = self.lines.clone();
        async move {
            let _ = lines.send(Line::Progress(value)).await;
        }
    }
}

/// Runs `work` while the client reads the response: a JSON object in each line, with `done`. The last one has the result,
/// or the error. An error before any progress is the response.
pub(super) async fn response<F>(state: &Arc<State>, work: impl FnOnce(Reporter) -> F) -> Answer
where
    F: Future<Output = Result<Value, Error>> + Send + 'static,
{
    let (lines, mut received) = mpsc::channel(8);
    let reporter = Reporter {
        lines: lines.clone(),
        last: None,
    };
    let work = work(reporter);
    tokio::spawn(async move {
        let end = select! {
            // The client is gone.
            () = lines.closed() => return,
            end = work => end,
        };
        let _ = lines.send(Line::End(end)).await;
    });
    let first = match received.recv().await {
        Some(Line::End(Err(error))) => return Err(error),
        first => first,
    };
    let state = Arc::clone(state);
    let lines = stream::unfold((first, received), move |(first, mut received)| {
        let state = Arc::clone(&state);
        async move {
            let line = match first {
                Some(line) => line,
                None => received.recv().await?,
            };
            state.progressed();
            Some((Ok::<_, Error>(text(line)), (None, received)))
        }
    });
    Ok(json::typed("application/x-ndjson", Body::from_stream(lines)))
}

fn text(line: Line) -> String {
    let (done, value) = match line {
        Line::Progress(value) => (false, value),
        Line::End(Ok(value)) => (true, value),
        Line::End(Err(error)) => return error.to_json() + "\n",
    };
    let mut value = value;
    if let Some(object) = value.as_object_mut() {
        object.insert("done".to_owned(), json!(done));
    }
    format!("{value}\n")
}
