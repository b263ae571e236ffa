//! Shows the progress of long work of the server.

use http::Method;
use serde_json::Value;

use super::{AdminClient, values::field};
use crate::progress::Progress;

/// Begins long work, by a POST if there is a body, shows its progress, and returns its result. Passes each line to `seen` first,
/// which returns `true` if the line is not progress.
pub(crate) async fn follow(
    client: &AdminClient,
    target: &str,
    body: Option<Value>,
    line: impl Fn(&Value) -> String,
    mut seen: impl FnMut(&Value, &Progress) -> Result<bool, String>,
) -> Result<Value, String> {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let mut response = client.send(method, target, body).await?;
    let (mut progress, mut last) = (Progress::new(), None);
    let stopped = |last: Option<Value>, why: &str| match last {
        Some(done) => format!("stopped after {}: {why}", line(&done)),
        None => why.to_owned(),
    };
    loop {
        let next = match response.line().await {
            Ok(next) => next,
            Err(error) => return Err(stopped(last, &error)),
        };
        let Some(value) = next else {
            return Err(stopped(last, "the server has closed the connection"));
        };
        if let Some(message) = field(&value, "message").as_str() {
            return Err(stopped(last, message));
        }
        if *field(&value, "done") == Value::Bool(true) {
            progress.clear();
            return Ok(value);
        }
        if !seen(&value, &progress)? {
            progress.show(|| line(&value));
            last = Some(value);
        }
    }
}
