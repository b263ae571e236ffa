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

/// Changes each of the events `ids`. Returns the sums of the results.
pub(super) async fn change_each(
    client: &AdminClient,
    ids: &[String],
    verb: &str,
    parameters: &str,
) -> Result<Value, String> {
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
