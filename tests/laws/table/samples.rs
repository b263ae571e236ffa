//! Requests for the layers that do not parse multipart.

use http::{Method, Request, StatusCode};
use kazoo_storage::metadata::MediaPart;

use super::{
    multipart::{FORM_DATA, JSON},
    sample::{Expect, REFUSED, Sample, base64, emitted, get, key, media, put, with},
};

pub(crate) const TOKEN: &str = "7f3c2a90b1d4e6f8a0c2e4f618293a4b";

pub(crate) const PROBE_PATH: &str = "/ACC/DOC/7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt";

pub(crate) fn probe_content() -> String {
    format!("some random content: {TOKEN}")
}

/// Media parts that are base64, or look like it.
pub(crate) fn base64_samples(head: fn(&'static str) -> Request<()>) -> Vec<Sample> {
    let sample = |name, content_type, body: String, expect| Sample::new(name, head(content_type), body, expect);
    let long = media(800);
    let mut late = base64(&long);
    late.replace_range(1050..1051, "*");
    let mut cut = base64(&long);
    cut.truncate(1067);
    let padded = base64(&media(800)) + &base64(&media(30));
    vec![
        sample(
            "no padding",
            "audio/mpeg",
            base64(&media(9)),
            emitted(media(9), "audio/mpeg"),
        ),
        sample(
            "one =",
            "audio/mpeg",
            base64(&media(8)),
            emitted(media(8), "audio/mpeg"),
        ),
        sample(
            "two =",
            "image/tiff",
            base64(&media(100)),
            emitted(media(100), "image/tiff"),
        ),
        sample(
            "beyond the prefix",
            "audio/mpeg",
            base64(&long),
            emitted(long, "audio/mpeg"),
        ),
        sample(
            "large",
            "audio/mpeg",
            base64(&media(70_000)),
            emitted(media(70_000), "audio/mpeg"),
        ),
        sample("empty", "audio/mpeg", String::new(), emitted("", "audio/mpeg")),
        sample("a bad byte", "audio/mpeg", late, REFUSED),
        sample("a length that cannot be", "audio/mpeg", cut, REFUSED),
        sample("padding in the middle", "audio/mpeg", padded, REFUSED),
    ]
}

pub(crate) fn media_part(content_type: &'static str) -> Request<()> {
    with(put("/ACC/DOC/ATT.mp3", Some(content_type)), MediaPart::default())
}

pub(crate) fn probe_samples(prefix: &str, multipart: bool) -> Vec<Sample> {
    let target = format!("{prefix}{PROBE_PATH}");
    let key = || key(PROBE_PATH);
    let put = |content_type| with(put(&target, Some(content_type)), key());
    let get = || with(get(&target), key());
    let mut samples = vec![
        Sample::new(
            "probe",
            put("text/plain"),
            probe_content(),
            Expect::Answered(StatusCode::CREATED),
        ),
        Sample::new("probe, wrong", put("text/plain"), "some random content: 7f", REFUSED),
        Sample::new("probe, too long", put("text/plain"), vec![b'x'; 20_000], REFUSED),
        Sample::new("probe, fetched", get(), "", Expect::Answered(StatusCode::OK)),
    ];
    if multipart {
        for (name, content) in [
            ("probe, multipart", probe_content()),
            ("probe, multipart base64", base64(probe_content().as_bytes())),
        ] {
            let body = FORM_DATA.body(JSON, "text/plain", content.as_bytes());
            let sample = Sample::new(
                name,
                put(FORM_DATA.content_type),
                body,
                Expect::Answered(StatusCode::CREATED),
            );
            samples.push(sample.delimited());
        }
    }
    samples
}

pub(crate) fn raw_samples(target: &'static str) -> Vec<Sample> {
    let wav = || put(target, Some("audio/x-wav"));
    let mut posted = wav();
    *posted.method_mut() = Method::POST;
    vec![
        Sample::new("raw", wav(), media(300), emitted(media(300), "audio/x-wav")),
        Sample::new("raw, posted", posted, media(20), emitted(media(20), "audio/x-wav")),
        Sample::new("raw, empty", wav(), "", emitted("", "audio/x-wav")),
        Sample::new(
            "raw, no type",
            put(target, None),
            "ID3",
            Expect::Emitted("ID3".into(), None),
        ),
        Sample::new(
            "raw, large",
            wav(),
            media(70_000),
            emitted(media(70_000), "audio/x-wav"),
        ),
    ]
}

pub(crate) fn anything() -> Request<()> {
    put("/ACC/DOC/my%20mail.mp3?a=b&c[]=d", Some("audio/mpeg"))
}

pub(crate) fn too_large() -> Expect {
    Expect::Answered(StatusCode::PAYLOAD_TOO_LARGE)
}

pub(crate) fn overloaded() -> Expect {
    Expect::Answered(StatusCode::SERVICE_UNAVAILABLE)
}
