//! Multipart bodies in the formats of the releases of KAZOO.

use http::Request;

use super::sample::{REFUSED, Sample, base64, emitted, media, put};

pub(crate) const JSON: &str = r#"{"id":"202401-DOC","metadata":{"call_id":"b3f6","note":"\r\n--B"}}"#;

/// The format of a multipart body, as KAZOO's releases write it.
pub(crate) struct Dialect {
    pub(crate) content_type: &'static str,
    pub(crate) boundary: &'static str,
    pub(crate) dispositions: bool,
    pub(crate) tail: &'static str,
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

pub(crate) const QUOTED: Dialect = Dialect {
    content_type: "Multipart/Mixed; charset=x; boundary=\"b c\"",
    boundary: "b c",
    dispositions: true,
    tail: "\r\nan epilogue\r\n",
};

impl Dialect {
    pub(crate) fn part(&self, name: &str, content_type: &str) -> String {
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
pub(crate) fn multipart_samples(target: &'static str) -> Vec<Sample> {
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

pub(crate) fn base64_in_multipart(target: &'static str) -> Vec<Sample> {
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

pub(crate) fn multipart() -> Request<()> {
    put("/ACC/DOC/ATT.mp3", Some(FORM_DATA.content_type))
}
