//! The events that `events retry` and `events discard` change: all dead ones with some conditions, or those with some ids.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use crate::{
    admin_client::{AdminClient, values::segment},
    cli::DeadOptions,
};

/// Returns the body of a request that changes all dead events of a receiver or an account.
pub(super) fn all_dead(options: &DeadOptions) -> Value {
    json!({
        "receiver": options.receiver,
        "account": options.account,
        "all": options.receiver.is_none() && options.account.is_none(),
    })
}

/// Changes each of the events `ids`. Returns the sums of the results. An error says how many of the events were changed before.
pub(super) async fn change_each(
    client: &AdminClient,
    ids: &[String],
    verb: &str,
    parameters: &str,
) -> Result<Value, String> {
    let mut sums = BTreeMap::<String, u64>::new();
    for (changed, id) in ids.iter().enumerate() {
        let target = format!("/v1/events/{}/{verb}?{parameters}", segment(id));
        let done = async { client.send(Method::POST, &target, None).await?.json().await };
        let done: Value = done.await.map_err(|error: String| match changed {
            0 => error,
            changed => format!("{error}; the first {changed} of the {} events are done", ids.len()),
        })?;
        for (name, value) in done.as_object().into_iter().flatten() {
            *sums.entry(name.clone()).or_default() += value.as_u64().unwrap_or_default();
        }
    }
    Ok(json!(sums))
}
