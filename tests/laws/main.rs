//! The laws that every layer obeys, alone and in the whole stack:
//!
//! - *pass-through*: a request without the peculiarity that the layer removes is unchanged;
//! - *plain-out*: the emitted request no longer has the peculiarity;
//! - *chunk-blind*: any re-chunking of the body gives the same result;
//! - *ready*: the inner service is called only after its `poll_ready`;
//! - *all-or-error*: the emitted body ends cleanly only if the whole body has arrived;
//! - *confirmed end*: over HTTP/2 the end of a body counts only if its declared length has arrived or `is_end_stream`
//!   confirms it. Any other end is emitted as an error, or still unconfirmed.
//!
//! *Fetchable* holds for key extractors: what a release of KAZOO stores, it can fetch.
//!
//! Another, *bounded*, is measured by `tests/memory`. A new layer is one more entry in `table/mod.rs`.

// A test fails by panicking, and says where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod base64_rates;
mod body;
mod fetchable;
mod laws;
#[path = "../../fuzz/src/oracle/mod.rs"]
#[allow(dead_code, unreachable_pub, unused_imports, clippy::pedantic)] // The fuzz targets use all of it.
mod oracle;
mod properties;
mod seen;
mod table;
mod toys;

use std::time::Duration;

use kazoo_storage::{
    AccessRules, AnswerProbe, Authorize, DecodeBase64, DrainBody, Event, ExtractKey, LimitBody, Observe, PathKey,
    RejectAmbiguousFraming, RejectStalledBody, RetryAfter, SplitMultipart, authorize::Credential,
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
fn every_sample_has_the_result_in_the_table() {
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
    over_every_layer(laws::ends::all_or_error);
}

#[test]
fn confirmed_end() {
    over_every_layer(laws::ends::confirmed_end);
}

#[test]
fn debug_names_every_layer_and_shows_no_secret() {
    let layers = ServiceBuilder::new()
        .layer(Observe::new(|_: &Event<'_>| ()))
        .layer(RetryAfter::default())
        .layer(RejectStalledBody::new(Duration::from_secs(1)))
        .layer(DrainBody::new())
        .layer(RejectAmbiguousFraming::new())
        .layer(LimitBody::new(1))
        .layer(Authorize::new(AccessRules::new().credential(Credential::token("hush"))))
        .layer(ExtractKey::new(PathKey))
        .layer(SplitMultipart::new())
        .layer(DecodeBase64::default())
        .layer(AnswerProbe::new(async || Ok(())));
    let shown = format!("{layers:?} {:?}", layers.service("inner"));
    for layer in [
        "Observe",
        "RetryAfter",
        "RejectStalledBody",
        "DrainBody",
        "LimitBody",
        "Authorize",
        "ExtractKey",
        "SplitMultipart",
        "DecodeBase64",
        "AnswerProbe",
    ] {
        assert!(shown.contains(&format!("{layer} {{")), "{layer}: {shown}");
        let services = [
            format!("ExchangeService {{ layer: {layer} {{"),
            format!("RewriteService {{ layer: {layer} {{"),
        ];
        assert!(
            services.iter().any(|service| shown.contains(service)),
            "{layer}: {shown}"
        );
    }
    assert!(shown.contains("\"inner\"") && !shown.contains("hush"), "{shown}");
}
