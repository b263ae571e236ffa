//! Every layer and the whole stack, with the requests that the laws send through them. A new layer is one more entry.

mod limits;
pub(crate) mod multipart;
pub(crate) mod sample;
mod samples;

use std::{convert::Infallible, time::Duration};

use http::{Request, Response, request::Parts};
use kazoo_storage::{
    AnswerProbe, Authorize, Base64, Body, ConfirmBody, DecodeBase64, DrainBody, Error, Event, ExtractKey, FormatErrors,
    Grant, KazooStorage, LimitConcurrency, Metadata, Observe, PathKey, RejectAmbiguousFraming, RejectStalledBody,
    RetryAfter, SplitMultipart, VerifyDigest,
    extract_key::{MetadataKey, QueryKey},
};
use md5::{Digest as _, Md5};
use tower::{Layer, Service, util::BoxCloneSyncService};

use self::{
    limits::{limits_of_the_body, media_limit},
    multipart::{FORM_DATA, JSON, base64_in_multipart, multipart, multipart_samples},
    sample::{ALL, BUT_STORES, Expect, REFUSED, Sample, base64, emitted, get, key, media, put, with},
    samples::{
        PROBE_PATH, anything, base64_samples, media_part, overloaded, probe_content, probe_samples, raw_samples,
        too_large,
    },
};
use crate::seen::Recorder;

pub(crate) type Stack = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A layer, or several, in front of a [`Recorder`].
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    wrap: Box<dyn Fn(Recorder) -> Stack>,
    /// `true` if the stack emits uploads to a store, not requests to an inner service.
    pub(crate) stores: bool,
    /// Requests that the layer must not change, with any body.
    pub(crate) plain: Vec<Request<()>>,
    /// Requests that the layer changes or rejects, and the expected results.
    pub(crate) samples: Vec<Sample>,
}

impl Subject {
    pub(crate) fn around(&self, recorder: Recorder) -> Stack {
        (self.wrap)(recorder)
    }

    /// A subject of `layer`, without requests.
    pub(crate) fn layer<L>(name: &'static str, layer: L) -> Self
    where
        L: Layer<Recorder> + 'static,
        L::Service:
            Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
    {
        Self::of(name, move |recorder| BoxCloneSyncService::new(layer.layer(recorder)))
    }

    pub(crate) fn of(name: &'static str, wrap: impl Fn(Recorder) -> Stack + 'static) -> Self {
        Self {
            name,
            wrap: Box::new(wrap),
            stores: false,
            plain: Vec::new(),
            samples: Vec::new(),
        }
    }

    pub(crate) fn stores(mut self) -> Self {
        self.stores = true;
        self
    }

    /// The layer must not change `head` with any of `methods`.
    pub(crate) fn plain(mut self, head: &Request<()>, methods: &[&str]) -> Self {
        self.plain.extend(methods.iter().map(|method| {
            let mut head = head.clone();
            *head.method_mut() = method.parse().unwrap();
            head
        }));
        self
    }

    pub(crate) fn sample(mut self, sample: Sample) -> Self {
        self.samples.push(sample);
        self
    }

    pub(crate) fn samples(mut self, samples: impl IntoIterator<Item = Sample>) -> Self {
        self.samples.extend(samples);
        self
    }
}

fn storage(recorder: &Recorder) -> KazooStorage {
    KazooStorage::new(recorder.store()).observe(|_: &Event<'_>| ())
}

/// The laws' table: every layer, and the whole stack.
pub(crate) fn subjects() -> Vec<Subject> {
    let parts = [
        limits_of_the_body(),
        layers_around_the_body(),
        layers_of_responses(),
        layers_of_the_body(),
        stacks(),
    ];
    parts.into_iter().flatten().collect()
}

/// The layers that observe, limit or identify a request.
fn layers_around_the_body() -> Vec<Subject> {
    vec![
        Subject::layer("Observe", Observe::new(|_: &Event<'_>| ()))
            .plain(&anything(), ALL)
            .plain(&multipart(), ALL)
            .samples(raw_samples("/ACC/DOC/ATT.wav")),
        Subject::layer("RejectStalledBody", RejectStalledBody::new(Duration::from_secs(30)))
            .plain(&anything(), ALL)
            .plain(&multipart(), ALL)
            .samples(raw_samples("/ACC/DOC/ATT.wav")),
        Subject::layer("DrainBody", DrainBody::new())
            .plain(&anything(), ALL)
            .plain(&multipart(), ALL)
            .samples(raw_samples("/ACC/DOC/ATT.wav")),
        Subject::layer("RejectAmbiguousFraming", RejectAmbiguousFraming::new())
            .plain(&anything(), ALL)
            .plain(&multipart(), ALL)
            .samples(raw_samples("/ACC/DOC/ATT.wav")),
        Subject::layer("LimitConcurrency", LimitConcurrency::new(100))
            .plain(&anything(), ALL)
            .plain(&multipart(), ALL)
            .samples(raw_samples("/ACC/DOC/ATT.wav")),
        Subject::layer("LimitConcurrency, none", LimitConcurrency::new(0))
            .sample(Sample::new(
                "over the limit",
                with(anything(), key("/ACC/DOC/ATT.mp3")),
                media(300),
                overloaded(),
            ))
            .sample(Sample::new(
                "over the limit, no key",
                anything(),
                media(300),
                overloaded(),
            ))
            .sample(Sample::new(
                "the probe",
                with(put("/", Some("text/plain")), key(PROBE_PATH)),
                probe_content(),
                emitted(probe_content(), "text/plain"),
            )),
        Subject::layer("Authorize", Authorize::new(|_: &mut Parts| Ok(Grant::everything())))
            .plain(&anything(), ALL)
            .plain(&multipart(), ALL)
            .samples(raw_samples("/ACC/DOC/ATT.wav")),
        Subject::layer("ExtractKey<PathKey>", ExtractKey::new(PathKey))
            .plain(&anything(), ALL)
            .plain(&multipart(), ALL)
            .samples(raw_samples("/ACC/DOC/sub%2Fdir.wav"))
            .sample(Sample::new(
                "doubled",
                get("/ACC/DOC/ATT/ACC/DOC/ATT?media_id=DOC"),
                "",
                Expect::Emitted("".into(), None),
            ))
            .sample(Sample::new("dots", put("/ACC/%2E%2E/ATT", None), "ID3", REFUSED))
            .sample(Sample::new("no key", put("//", None), "ID3", REFUSED)),
        Subject::layer("ExtractKey<QueryKey>", ExtractKey::new(QueryKey::new("recording")))
            .plain(
                &put("/index.fu?key=abc&recording=ACC/DOC/ATT.mp3", Some("audio/mpeg")),
                ALL,
            )
            .sample(Sample::new(
                "no such parameter",
                put("/index.fu?key=abc", None),
                "ID3",
                REFUSED,
            )),
        Subject::layer(
            "ExtractKey<MetadataKey>",
            ExtractKey::new(MetadataKey::new(["call_id"])),
        )
        .plain(
            &with(
                put("/p/?call_id=b3f6", Some("audio/mpeg")),
                Metadata::from_json(JSON).unwrap(),
            ),
            ALL,
        )
        .sample(Sample::new("no metadata", put("/p/", None), "ID3", REFUSED)),
    ]
}

/// The layers that change responses only.
fn layers_of_responses() -> Vec<Subject> {
    vec![
        Subject::layer(
            "FormatErrors",
            FormatErrors::new(|_: &Error, response: Response<Body>| response),
        )
        .plain(&anything(), ALL)
        .plain(&multipart(), ALL)
        .samples(raw_samples("/ACC/DOC/ATT.wav")),
        Subject::layer("RetryAfter", RetryAfter::default())
            .plain(&anything(), ALL)
            .plain(&multipart(), ALL)
            .samples(raw_samples("/ACC/DOC/ATT.wav")),
    ]
}

/// A request with the MD5 of `media(300)`, or with another one.
fn with_digest(right: bool) -> Request<()> {
    let of = if right { media(300) } else { media(301) };
    let mut head = anything();
    let value = base64(&Md5::digest(&of)).parse().unwrap();
    head.headers_mut().insert("content-md5", value);
    head
}

/// The layers that read the body.
fn layers_of_the_body() -> Vec<Subject> {
    vec![
        Subject::layer("VerifyDigest", VerifyDigest::new())
            .plain(&anything(), ALL)
            .plain(&multipart(), ALL)
            .plain(&with_digest(false), BUT_STORES)
            .samples(raw_samples("/ACC/DOC/ATT.wav"))
            .sample(Sample::new(
                "the digest",
                with_digest(true),
                media(300),
                emitted(media(300), "audio/mpeg"),
            ))
            .sample(Sample::new("another digest", with_digest(false), media(300), REFUSED))
            .sample(Sample::new("another digest, empty", with_digest(false), "", REFUSED)),
        Subject::layer("SplitMultipart", SplitMultipart::new())
            .plain(&anything(), ALL)
            .plain(&put("/", None), ALL)
            .plain(&multipart(), BUT_STORES)
            .plain(&put("/", Some("multipart/related; boundary=B")), ALL)
            .plain(&put("/", Some("application/json")), ALL)
            .samples(multipart_samples("/ACC/DOC/ATT.mp3")),
        Subject::layer("DecodeBase64, detect", DecodeBase64::new(Base64::Detect))
            .plain(&anything(), ALL)
            .plain(&put("/", None), ALL)
            .plain(&media_part("audio/mpeg"), BUT_STORES)
            .samples(base64_samples(media_part))
            .sample(Sample::new(
                "text",
                media_part("text/plain"),
                "SUQz",
                emitted("SUQz", "text/plain"),
            ))
            .sample(Sample::new(
                "plain media",
                media_part("audio/mpeg"),
                media(1100),
                emitted(media(1100), "audio/mpeg"),
            ))
            .sample(Sample::new(
                "the probe",
                with(media_part("text/plain"), key(PROBE_PATH)),
                base64(probe_content().as_bytes()),
                emitted(probe_content(), "text/plain"),
            )),
        Subject::layer("DecodeBase64, declared", DecodeBase64::new(Base64::Declared))
            .plain(&anything(), BUT_STORES)
            .samples(base64_samples(media_part))
            .sample(Sample::new("no base64", media_part("audio/mpeg"), "ID3\x04", REFUSED))
            .sample(Sample::new(
                "plain body",
                put("/", Some("audio/mpeg")),
                media(1100),
                emitted(media(1100), "audio/mpeg"),
            ))
            .sample(Sample::new(
                "plain body, encoded",
                put("/", Some("audio/mpeg")),
                base64(&media(800)),
                emitted(media(800), "audio/mpeg"),
            )),
        Subject::layer("DecodeBase64, off", DecodeBase64::new(Base64::Off))
            .plain(&anything(), ALL)
            .plain(&media_part("audio/mpeg"), ALL),
        Subject::layer("ConfirmBody", ConfirmBody::new())
            .plain(&anything(), ALL)
            .plain(&multipart(), ALL)
            .samples(raw_samples("/ACC/DOC/ATT.wav")),
        Subject::layer("AnswerProbe", AnswerProbe::new(async || Ok(())))
            .plain(&anything(), ALL)
            .plain(&with(anything(), key("/ACC/DOC/test_credentials_file.txt")), ALL)
            .plain(&with(anything(), key(PROBE_PATH)), &["DELETE", "OPTIONS", "PATCH"])
            .samples(probe_samples("", false)),
    ]
}

/// The complete stacks.
fn stacks() -> Vec<Subject> {
    vec![
        Subject::of("into_service", move |recorder| {
            BoxCloneSyncService::new(storage(&recorder).into_service())
        })
        .stores()
        .samples(raw_samples("/ACC/DOC/ATT.wav"))
        .samples(multipart_samples("/ACC/OWNER/DOC/my%20mail.mp3"))
        .samples(base64_in_multipart("/ACC/DOC/ATT.mp3"))
        .samples(probe_samples("", true))
        .sample(Sample::new("dots", put("/ACC/%2E%2E/ATT", None), "ID3", REFUSED)),
        Subject::of("into_service, base64 declared", move |recorder| {
            BoxCloneSyncService::new(storage(&recorder).base64(Base64::Declared).into_service())
        })
        .stores()
        .samples(base64_in_multipart("/ACC/DOC/ATT.mp3"))
        .sample(Sample::new(
            "raw, encoded",
            put("/ACC/DOC/ATT.wav", Some("audio/x-wav")),
            base64(&media(800)),
            emitted(media(800), "audio/x-wav"),
        )),
        Subject::of("into_service, low limits", move |recorder| {
            BoxCloneSyncService::new(storage(&recorder).max_body(700).max_metadata(30).into_service())
        })
        .stores()
        .sample(Sample::new("body", put("/A/B/C", None), media(701), too_large()))
        .sample(Sample::new(
            "metadata",
            put("/A/B/C", Some(FORM_DATA.content_type)),
            FORM_DATA.body(JSON, "a/b", b"ID3"),
            too_large(),
        )),
        media_limit(Base64::Off, |content| content),
        media_limit(Base64::Declared, |content| base64(&content).into_bytes()),
        Subject::of("into_service, key from the metadata", move |recorder| {
            BoxCloneSyncService::new(storage(&recorder).key(MetadataKey::new(["call_id"])).into_service())
        })
        .stores()
        .sample(
            Sample::new(
                "multipart",
                put("/p/", Some(FORM_DATA.content_type)),
                FORM_DATA.body(JSON, "audio/mpeg", b"ID3"),
                emitted("ID3", "audio/mpeg"),
            )
            .delimited(),
        ),
        Subject::of("mount", move |recorder| {
            BoxCloneSyncService::new(storage(&recorder).mount("/some_prefix").layer(recorder))
        })
        .stores()
        .plain(&anything(), ALL)
        .plain(&multipart(), ALL)
        .plain(&put("/some_prefix_of_another/ACC/DOC/ATT", None), ALL)
        .plain(&put("/some%2Fprefix/ACC", None), ALL)
        .samples(raw_samples("/some_prefix/ACC/DOC/ATT.wav"))
        .samples(base64_in_multipart("/some_prefix/ACC/DOC/ATT.mp3"))
        .samples(probe_samples("/some_prefix", true)),
    ]
}
