//! Every layer and the whole stack, with the requests that the laws send through them. A new layer is one more entry.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header, request::Parts};
use kazoo_storage::{
    AnswerProbe, Authorize, Base64, BlobKey, Body, DecodeBase64, DrainBody, Event, ExtractKey, KazooStorage, LimitBody,
    LimitConcurrency, Metadata, Observe, PathKey, RejectAmbiguousFraming, RejectStalledBody, RetryAfter,
    SplitMultipart, VerifyDigest,
    extract_key::{MetadataKey, QueryKey},
    grant::Grant,
    metadata::MediaPart,
};
use md5::{Digest as _, Md5};
use tower::{Layer, Service, util::BoxCloneSyncService};

use crate::seen::{Mark, Recorder};

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

/// A request and its expected result.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) head: Request<()>,
    pub(crate) body: Bytes,
    pub(crate) expect: Expect,
    /// `true` if the body itself shows where it ends.
    pub(crate) delimited: bool,
}

pub(crate) enum Expect {
    /// This body is emitted, with this `content-type`.
    Emitted(Bytes, Option<&'static str>),
    /// No complete body is emitted, and the response has this status.
    Answered(StatusCode),
}

impl Sample {
    pub(crate) fn new(name: &'static str, head: Request<()>, body: impl Into<Bytes>, expect: Expect) -> Self {
        Self {
            name,
            head,
            body: body.into(),
            expect,
            delimited: false,
        }
    }

    fn delimited(mut self) -> Self {
        self.delimited = true;
        self
    }
}

pub(crate) const ALL: &[&str] = &["PUT", "POST", "GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "PROPFIND"];
const BUT_STORES: &[&str] = &["GET", "HEAD", "DELETE", "OPTIONS", "PATCH"];

const TOKEN: &str = "7f3c2a90b1d4e6f8a0c2e4f618293a4b";
const PROBE_PATH: &str = "/ACC/DOC/7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt";

fn probe_content() -> String {
    format!("some random content: {TOKEN}")
}

/// A PUT as KAZOO sends it, of a body of this type.
pub(crate) fn put(target: &str, content_type: Option<&str>) -> Request<()> {
    let mut request = Request::put(target)
        .header("te", "")
        .header("host", "127.0.0.1:8080")
        .header("connection", "keep-alive")
        .extension(Mark(7));
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    request.body(()).unwrap()
}

pub(crate) fn get(target: &str) -> Request<()> {
    Request::get(target)
        .header("te", "")
        .extension(Mark(8))
        .body(())
        .unwrap()
}

fn with<T: Clone + Send + Sync + 'static>(mut head: Request<()>, extension: T) -> Request<()> {
    head.extensions_mut().insert(extension);
    head
}

fn key(path: &str) -> BlobKey {
    BlobKey::from_path(path).unwrap()
}

fn emitted(body: impl Into<Bytes>, content_type: &'static str) -> Expect {
    Expect::Emitted(body.into(), Some(content_type))
}

const REFUSED: Expect = Expect::Answered(StatusCode::BAD_REQUEST);

/// Binary media that begins like an MP3 file and contains text that looks like a delimiter.
pub(crate) fn media(len: usize) -> Vec<u8> {
    let noise = (0..=u8::MAX).cycle().step_by(37);
    b"ID3\x04\0\0\xff\r\n--B\r\n----\r\n"
        .iter()
        .copied()
        .chain(noise)
        .take(len)
        .collect()
}

/// Encodes `media` as base64, independently of the decoder under test.
pub(crate) fn base64(media: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    media
        .chunks(3)
        .flat_map(|group| {
            let bits = group
                .iter()
                .fold(0_usize, |bits, byte| (bits << 8) | usize::from(*byte))
                << (8 * (3 - group.len()));
            (0..4).map(move |place| {
                if place <= group.len() {
                    char::from(LETTERS[(bits >> (18 - 6 * place)) & 63])
                } else {
                    '='
                }
            })
        })
        .collect()
}

pub(crate) const JSON: &str = r#"{"id":"202401-DOC","metadata":{"call_id":"b3f6","note":"\r\n--B"}}"#;

/// The format of a multipart body, as KAZOO's releases write it.
pub(crate) struct Dialect {
    pub(crate) content_type: &'static str,
    pub(crate) boundary: &'static str,
    dispositions: bool,
    tail: &'static str,
}

pub(crate) const FORM_DATA: Dialect = Dialect {
    content_type: "multipart/form-data; boundary=-Bq_-Zk29rt-",
    boundary: "-Bq_-Zk29rt-",
    dispositions: true,
    tail: "",
};
pub(crate) const UNDELIMITED: Dialect = Dialect {
    content_type: "multipart/mixed",
    boundary: "Xw/9+kq",
    dispositions: false,
    tail: "",
};
const QUOTED: Dialect = Dialect {
    content_type: "Multipart/Mixed; charset=x; boundary=\"b c\"",
    boundary: "b c",
    dispositions: true,
    tail: "\r\nan epilogue\r\n",
};

impl Dialect {
    fn part(&self, name: &str, content_type: &str) -> String {
        let disposition = if self.dispositions {
            format!("content-disposition: form-data; name={name}\r\n")
        } else {
            String::new()
        };
        format!(
            "\r\n--{}\r\n{disposition}content-type: {content_type}\r\n\r\n",
            self.boundary
        )
    }

    /// Everything before the media.
    pub(crate) fn head(&self, json: &str, content_type: &str) -> Vec<u8> {
        let first = self.part("202401-DOC", "application/json");
        let second = self.part("my voice mail.mp3", content_type);
        [first.as_bytes(), json.as_bytes(), second.as_bytes()].concat()
    }

    /// Everything after the media.
    pub(crate) fn tail(&self) -> Vec<u8> {
        format!("\r\n--{}--{}", self.boundary, self.tail).into_bytes()
    }

    pub(crate) fn body(&self, json: &str, content_type: &str, media: &[u8]) -> Vec<u8> {
        [&self.head(json, content_type)[..], media, &self.tail()].concat()
    }
}

/// Multipart uploads to `target`.
fn multipart_samples(target: &'static str) -> Vec<Sample> {
    let head = |dialect: &Dialect| put(target, Some(dialect.content_type));
    let sample =
        |name, dialect: &Dialect, body: Vec<u8>, expect| Sample::new(name, head(dialect), body, expect).delimited();
    let small = media(90);
    let large = media(70_000);
    let whole = |dialect: &Dialect, media: &[u8]| dialect.body(JSON, "audio/mpeg", media);
    let junk_header = {
        let mut sample = sample(
            "the header twice",
            &FORM_DATA,
            whole(&FORM_DATA, b"ID3"),
            emitted("ID3", "audio/mpeg"),
        );
        let twice = FORM_DATA.content_type.parse().unwrap();
        sample.head.headers_mut().insert("content_type", twice);
        sample
    };
    let part_3 = [
        &FORM_DATA.head(JSON, "audio/mpeg")[..],
        b"ID3",
        FORM_DATA.part("third", "audio/mpeg").as_bytes(),
        b"ID3",
        &FORM_DATA.tail(),
    ]
    .concat();
    let only_json = [
        FORM_DATA.part("d", "application/json").as_bytes(),
        JSON.as_bytes(),
        &FORM_DATA.tail(),
    ]
    .concat();
    let cut = |len: usize| {
        let mut body = whole(&FORM_DATA, &small);
        body.truncate(body.len() - len);
        body
    };
    vec![
        sample(
            "form-data",
            &FORM_DATA,
            whole(&FORM_DATA, &small),
            emitted(small.clone(), "audio/mpeg"),
        ),
        sample(
            "no boundary",
            &UNDELIMITED,
            whole(&UNDELIMITED, &small),
            emitted(small.clone(), "audio/mpeg"),
        ),
        sample(
            "quoted, with an epilogue",
            &QUOTED,
            whole(&QUOTED, &small),
            emitted(small.clone(), "audio/mpeg"),
        ),
        sample(
            "empty media",
            &FORM_DATA,
            whole(&FORM_DATA, b""),
            emitted("", "audio/mpeg"),
        ),
        sample(
            "media of line breaks",
            &FORM_DATA,
            whole(&FORM_DATA, b"\r\n\r\n"),
            emitted("\r\n\r\n", "audio/mpeg"),
        ),
        sample(
            "large",
            &FORM_DATA,
            whole(&FORM_DATA, &large),
            emitted(large, "audio/mpeg"),
        ),
        junk_header,
        sample("three parts", &FORM_DATA, part_3, REFUSED),
        sample("no media", &FORM_DATA, only_json, REFUSED),
        sample(
            "no JSON",
            &FORM_DATA,
            FORM_DATA.body("{\"a\":", "audio/mpeg", b"ID3"),
            REFUSED,
        ),
        sample(
            "no JSON object",
            &FORM_DATA,
            FORM_DATA.body("[1]", "audio/mpeg", b"ID3"),
            REFUSED,
        ),
        sample("no closing delimiter", &FORM_DATA, cut(FORM_DATA.tail().len()), REFUSED),
        sample("half a closing delimiter", &FORM_DATA, cut(1), REFUSED),
        sample("no part at all", &FORM_DATA, FORM_DATA.tail(), REFUSED),
        sample("not multipart", &FORM_DATA, small.clone(), REFUSED),
        sample("no boundary, not multipart", &UNDELIMITED, small, REFUSED),
        sample("empty", &UNDELIMITED, "".into(), REFUSED),
    ]
}

/// Media parts that are base64, or look like it.
fn base64_samples(head: fn(&'static str) -> Request<()>) -> Vec<Sample> {
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

fn media_part(content_type: &'static str) -> Request<()> {
    with(put("/ACC/DOC/ATT.mp3", Some(content_type)), MediaPart::default())
}

fn base64_in_multipart(target: &'static str) -> Vec<Sample> {
    let long = media(800);
    let encoded = FORM_DATA.body(JSON, "audio/mpeg", base64(&long).as_bytes());
    let mut broken = base64(&long);
    broken.replace_range(1050..1051, "*");
    let broken = FORM_DATA.body(JSON, "audio/mpeg", broken.as_bytes());
    let head = || put(target, Some(FORM_DATA.content_type));
    vec![
        Sample::new("multipart, base64", head(), encoded, emitted(long, "audio/mpeg")).delimited(),
        Sample::new("multipart, broken base64", head(), broken, REFUSED).delimited(),
    ]
}

fn probe_samples(prefix: &str, multipart: bool) -> Vec<Sample> {
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

fn raw_samples(target: &'static str) -> Vec<Sample> {
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

fn anything() -> Request<()> {
    put("/ACC/DOC/my%20mail.mp3?a=b&c[]=d", Some("audio/mpeg"))
}

fn multipart() -> Request<()> {
    put("/ACC/DOC/ATT.mp3", Some(FORM_DATA.content_type))
}

fn too_large() -> Expect {
    Expect::Answered(StatusCode::PAYLOAD_TOO_LARGE)
}

fn overloaded() -> Expect {
    Expect::Answered(StatusCode::SERVICE_UNAVAILABLE)
}

fn storage(recorder: &Recorder) -> KazooStorage {
    KazooStorage::new(recorder.store()).observe(|_: &Event<'_>| ())
}

/// The laws' table: every layer, and the whole stack.
pub(crate) fn subjects() -> Vec<Subject> {
    let parts = [layers_around_the_body(), layers_of_the_body(), stacks()];
    parts.into_iter().flatten().collect()
}

/// The layers that observe, limit or identify a request.
fn layers_around_the_body() -> Vec<Subject> {
    vec![
        Subject::layer("Observe", Observe::new(|_: &Event<'_>| ()))
            .plain(&anything(), ALL)
            .plain(&multipart(), ALL)
            .samples(raw_samples("/ACC/DOC/ATT.wav")),
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
            .sample(Sample::new("far over the limit", anything(), media(500), too_large())),
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
        Subject::layer("RetryAfter", RetryAfter::default())
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
