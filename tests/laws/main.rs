//! The laws that every layer holds, alone and in the whole stack:
//!
//! - *pass-through*: without its wrinkle the request is unchanged;
//! - *plain-out*: what comes out no longer has the wrinkle;
//! - *chunk-blind*: any re-chunking of the body gives the same result;
//! - *ready*: the inner service is called only after its `poll_ready`;
//! - *all-or-error*: a clean end comes out only if all of the body came in;
//! - *confirmed end*: over HTTP/2 the end of a body counts only if its declared length has arrived or `is_end_stream`
//!   confirms it. Any other end comes out as an error, or as unconfirmed as it came in.
//!
//! The last, *bounded*, is measured in `memory.rs`. A new layer is one more entry in `table.rs`.

// A test fails by panicking, and says where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod base64_rates;
mod body;
mod laws;
#[path = "../../fuzz/src/oracle/mod.rs"]
#[allow(dead_code, unreachable_pub, unused_imports, clippy::pedantic)] // The fuzz targets use all of it.
mod oracle;
mod properties;
mod seen;
mod table;
mod toys;

use kazoo_storage::{
    AccessRules, AnswerProbe, Authorize, DecodeBase64, Event, ExtractKey, LimitBody, Observe, PathKey, SplitMultipart,
    authorize::Credential,
};
use laws::Verdict;
use table::{Subject, subjects};
use tower::ServiceBuilder;

/// Runs `law` over the whole table and names every layer that breaks it.
fn over_every_layer(law: fn(&Subject) -> Verdict) {
    let broken: Vec<String> = subjects()
        .iter()
        .filter_map(|subject| law(subject).err().map(|broken| format!("{}: {broken}", subject.name)))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

#[test]
fn every_sample_comes_to_what_the_table_says() {
    over_every_layer(laws::samples_are_as_expected);
}

#[test]
fn pass_through() {
    over_every_layer(laws::pass_through);
}

#[test]
fn plain_out() {
    over_every_layer(laws::plain_out);
}

#[test]
fn chunk_blind() {
    over_every_layer(laws::chunk_blind);
}

#[test]
fn ready() {
    over_every_layer(laws::ready);
}

#[test]
fn all_or_error() {
    over_every_layer(laws::all_or_error);
}

#[test]
fn confirmed_end() {
    over_every_layer(laws::confirmed_end);
}

/// What an application's log may show of a stack.
#[test]
fn debug_names_every_layer_and_tells_no_secret() {
    let layers = ServiceBuilder::new()
        .layer(Observe::new(|_: &Event<'_>| ()))
        .layer(LimitBody::new(1))
        .layer(Authorize::new(AccessRules::new().credential(Credential::token("hush"))))
        .layer(ExtractKey::new(PathKey))
        .layer(SplitMultipart::new())
        .layer(DecodeBase64::default())
        .layer(AnswerProbe::new(async || Ok(())));
    let shown = format!("{layers:?} {:?}", layers.service("inner"));
    for layer in [
        "Observe",
        "LimitBody",
        "Authorize",
        "ExtractKey",
        "SplitMultipart",
        "DecodeBase64",
        "AnswerProbe",
    ] {
        assert!(shown.contains(&format!("{layer} {{")), "{layer}: {shown}");
        let services = [
            format!("{layer}Service {{ inner: "),
            format!("RewriteService {{ layer: {layer} {{"),
        ];
        assert!(
            services.iter().any(|service| shown.contains(service)),
            "{layer}: {shown}"
        );
    }
    assert!(shown.contains("\"inner\"") && !shown.contains("hush"), "{shown}");
}
