//! Limits of the body and of the media.

use http::Request;
use kazoo_storage::{Base64, Grant, LimitBody};
use tower::util::BoxCloneSyncService;

use super::{
    Subject,
    multipart::{FORM_DATA, JSON, multipart},
    sample::{ALL, Sample, emitted, media, put, with},
    samples::{anything, raw_samples, too_large},
    storage,
};

/// The limit of the body, alone and with a grant.
pub(super) fn limits_of_the_body() -> Vec<Subject> {
    vec![
        Subject::layer("LimitBody", LimitBody::new(100_000))
            .plain(&anything(), ALL)
            .plain(&multipart(), ALL)
            .samples(raw_samples("/ACC/DOC/ATT.wav"))
            .sample(Sample::new("over the limit", anything(), media(100_001), too_large())),
        Subject::layer("LimitBody, low", LimitBody::new(40))
            .sample(Sample::new(
                "at the limit",
                anything(),
                media(40),
                emitted(media(40), "audio/mpeg"),
            ))
            .sample(Sample::new("over the limit", anything(), media(41), too_large()))
            .sample(Sample::new("far over the limit", anything(), media(500), too_large()))
            .sample(Sample::new("a larger grant", granted(100), media(41), too_large())),
        Subject::layer("LimitBody, grant", LimitBody::new(100_000))
            .sample(Sample::new(
                "at the limit of the grant",
                granted(40),
                media(40),
                emitted(media(40), "audio/mpeg"),
            ))
            .sample(Sample::new(
                "over the limit of the grant",
                granted(40),
                media(41),
                too_large(),
            ))
            .sample(Sample::new(
                "far over the limit of the grant",
                granted(40),
                media(500),
                too_large(),
            )),
    ]
}

/// The stack with a limit of 40 bytes for the media, which `encoded` encodes in a multipart body.
pub(super) fn media_limit(mode: Base64, encoded: fn(Vec<u8>) -> Vec<u8>) -> Subject {
    let raw = || put("/A/B/C", Some("audio/mpeg"));
    let in_parts = || put("/A/B/C", Some(FORM_DATA.content_type));
    let parts = |len| FORM_DATA.body(JSON, "audio/mpeg", &encoded(media(len)));
    let at_limit = || emitted(media(40), "audio/mpeg");
    Subject::of("into_service, low limit of media", move |recorder| {
        BoxCloneSyncService::new(storage(&recorder).base64(mode).max_media(40).into_service())
    })
    .stores()
    .sample(Sample::new("raw, at the limit", raw(), media(40), at_limit()))
    .sample(Sample::new("raw, over the limit", raw(), media(41), too_large()))
    .sample(Sample::new(
        "multipart, at the limit",
        in_parts(),
        parts(40),
        at_limit(),
    ))
    .sample(Sample::new(
        "multipart, over the limit",
        in_parts(),
        parts(41),
        too_large(),
    ))
    .sample(Sample::new(
        "multipart, far over the limit",
        in_parts(),
        parts(500),
        too_large(),
    ))
}

/// A request whose grant limits the body to `bytes`.
fn granted(bytes: u64) -> Request<()> {
    with(anything(), Grant::everything().max_body(bytes))
}
