//! The error rates of [`Base64::Detect`] on a generated corpus. `docs/layers.md` publishes them.

use std::{convert::Infallible, f64::consts::TAU};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kazoo_storage::{Base64, Body, DecodeBase64, metadata::MediaPart};
use tower::{Layer as _, ServiceExt as _, service_fn};

/// Reproducible noise.
struct Noise(u32);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0.to_le_bytes()[1]
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }
}

/// Samples of a telephone call, 16 bits each: silence, then tones from soft to loud.
fn signals() -> Vec<Vec<i16>> {
    let mut signals = vec![vec![0; 2000]];
    for amplitude in [1.0, 4.0, 30.0, 300.0, 3000.0, 30_000.0] {
        for (one, other) in [(440.0, 440.0), (697.0, 1209.0), (50.0, 50.0)] {
            let sample = |at: u32| {
                let turn = |hertz: f64| (f64::from(at) * hertz / 8000.0 * TAU).sin();
                #[allow(clippy::cast_possible_truncation)]
                let sample = (f64::midpoint(turn(one), turn(other)) * amplitude).round() as i16;
                sample
            };
            signals.push((0..2000).map(sample).collect());
        }
    }
    signals
}

/// G.711 µ-law.
fn mu_law(sample: i16) -> u8 {
    let magnitude = (i32::from(sample).abs() + 132).min(32_767);
    let exponent = 24 - u32::try_from(magnitude).unwrap().leading_zeros();
    let mantissa = magnitude >> (exponent + 3) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !u8::try_from(sign | i32::try_from(exponent).unwrap() << 4 | mantissa).unwrap()
}

/// G.711 A-law.
fn a_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let magnitude = (i32::from(sample) >> 3) ^ if sample < 0 { -1 } else { 0 };
    let code = if magnitude < 32 {
        magnitude >> 1
    } else {
        let exponent = 27 - magnitude.leading_zeros().cast_signed();
        (exponent << 4) | (magnitude >> exponent & 0x0f)
    };
    u8::try_from((sign | code) ^ 0x55).unwrap()
}

/// Raw recordings in every codec, and signals whose bytes are letters by chance.
fn raw() -> Vec<Vec<u8>> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut noise = Noise(0x9e37_79b9);
    let mut files = Vec::new();
    for signal in signals() {
        files.push(signal.iter().map(|sample| mu_law(*sample)).collect());
        files.push(signal.iter().map(|sample| a_law(*sample)).collect());
        files.push(signal.iter().map(|sample| sample.to_be_bytes()[0] ^ 0x80).collect());
        files.push(signal.iter().flat_map(|sample| sample.to_le_bytes()).collect());
    }
    // GSM 06.10: the frame of silence, and frames with other parameters. Each begins with the nibble 0xd.
    let silence = b"\xd8\x20\xa2\xe1\x5a\x50\0\x49\x24\x92\x49\x24\x50\0\x49\x24\x92\x49\x24\x50\0\x49\x24\x92\x49\x24\x50\0\x49\x24\x92\x49\x24";
    files.push(silence.repeat(60));
    files.push(
        (0..60)
            .flat_map(|_| [vec![0xd0 | noise.byte() & 0x0f], noise.bytes(32)].concat())
            .collect(),
    );
    // Silence with an offset, and square waves.
    for one in LETTERS {
        files.extend(LETTERS.iter().map(|other| [*one, *one, *other, *other].repeat(500)));
    }
    // Triangles and soft noise whose bytes are neighbouring letters.
    for (low, high) in [(b'A', b'Z'), (b'a', b'z'), (b'0', b'9'), (b'/', b'9')] {
        let up = (low..=high).chain((low..=high).rev());
        files.push(up.cycle().take(2000).collect());
        files.push((0..2000).map(|_| low + noise.byte() % (high - low + 1)).collect());
    }
    files
}

/// Files of a format, complete and truncated, and the media type that KAZOO sends.
fn formatted() -> Vec<(&'static str, &'static str, Vec<Vec<u8>>)> {
    let mut noise = Noise(0x1234_5678);
    let signals = signals();
    let wav = |format: u8, samples: Vec<u8>| {
        let size = u32::try_from(samples.len()).unwrap().to_le_bytes();
        [
            b"RIFF",
            &size[..],
            b"WAVEfmt \x10\0\0\0",
            &[format, 0, 1, 0],
            b"\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data",
            &size,
            &samples,
        ]
        .concat()
    };
    let wavs = signals.iter().flat_map(|signal| {
        [
            wav(7, signal.iter().map(|sample| mu_law(*sample)).collect()),
            wav(6, signal.iter().map(|sample| a_law(*sample)).collect()),
            wav(1, signal.iter().flat_map(|sample| sample.to_le_bytes()).collect()),
        ]
    });
    let wavs = wavs.collect();
    // Frames of 64 kbit/s: of noise, and of silence as an encoder writes it.
    let mut frames = |tag: &[u8], second: u8, silent: bool| {
        let mut file = tag.to_vec();
        for _ in 0..10 {
            file.extend([0xff, second, 0x54, 0xc4]);
            file.extend(if silent {
                [&[0; 32][..], &b"LAME3.100"[..], &[0x55; 163]].concat()
            } else {
                noise.bytes(204)
            });
        }
        file
    };
    let tag = b"ID3\x04\0\0\0\0\0\x0bTSSE\0\0\0\x01\0\0\0";
    let mut mp3s = Vec::new();
    for silent in [false, true] {
        for second in [0xfb, 0xf3, 0xe3] {
            mp3s.push(frames(&tag[..], second, silent));
            mp3s.push(frames(b"", second, silent));
        }
    }
    let tiffs = [b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"].map(|head| [&head[..], &noise.bytes(30), &[0; 3000]].concat());
    let pdfs = ["%PDF-1.4\n%\u{e2}\n", "%PDF-1.7\n"]
        .map(|head| [head.as_bytes(), &b"1 0 obj\n<< /Type /Catalog >>\nendobj\n".repeat(40)].concat());
    let cut = |mut files: Vec<Vec<u8>>| {
        let short: Vec<Vec<u8>> = files.iter().map(|file| file[..60.min(file.len())].to_vec()).collect();
        files.extend(short);
        files
    };
    vec![
        ("MP3", "audio/mpeg", cut(mp3s)),
        ("WAV", "audio/x-wav", cut(wavs)),
        ("TIFF", "image/tiff", cut(tiffs.to_vec())),
        ("PDF", "application/pdf", cut(pdfs.to_vec())),
    ]
}

fn texts() -> Vec<Vec<u8>> {
    let text = "Hello, this is a voicemail from +1 555 0100. Please call me back.\r\n";
    vec![b"hello".to_vec(), text.into(), text.repeat(40).into()]
}

/// Files that are base64 text themselves.
fn base64_texts() -> Vec<Vec<u8>> {
    let encode = |file: &Vec<u8>| STANDARD.encode(file).into_bytes();
    texts()
        .iter()
        .map(encode)
        .chain([encode(&Noise(7).bytes(3000))])
        .collect()
}

fn stored(content_type: &str, file: &[u8]) -> Vec<u8> {
    let service = DecodeBase64::new(Base64::Detect).layer(service_fn(async |request: Request<Body>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    }));
    let request = Request::put("/ACC/DOC/ATT")
        .header("content-type", content_type)
        .extension(MediaPart::default())
        .body(Body::from(bytes::Bytes::copy_from_slice(file)))
        .unwrap();
    let stored = async { service.oneshot(request).await.unwrap().into_body().collect().await };
    stored
        .now_or_never()
        .unwrap()
        .expect("all of it is base64, or none")
        .to_bytes()
        .to_vec()
}

/// A line of the table: the files, how many are altered although they were not encoded, and how many stay encoded.
fn line(what: &str, content_type: &str, files: &[Vec<u8>]) -> String {
    let altered = files.iter().filter(|file| stored(content_type, file) != **file).count();
    let encoded = |file: &&Vec<u8>| stored(content_type, STANDARD.encode(file).as_bytes()) != **file;
    let kept = files.iter().filter(encoded).count();
    let count = files.len();
    let percent = |part: usize| {
        if part == 0 {
            "0".to_owned()
        } else {
            format!("{}%", (part * 100).div_ceil(count))
        }
    };
    format!(
        "| {what} | `{content_type}` | {count} | {} | {} |",
        percent(altered),
        percent(kept)
    )
}

#[test]
fn the_rates_are_those_of_the_page() {
    let mut table = Vec::new();
    for (format, content_type, files) in formatted() {
        for content_type in [content_type, "application/octet-stream"] {
            table.push(line(format, content_type, &files));
        }
    }
    for content_type in ["application/octet-stream", "audio/basic", "audio/x-wav", "audio/mpeg"] {
        table.push(line("a raw recording", content_type, &raw()));
    }
    for content_type in ["text/plain", "application/octet-stream"] {
        table.push(line("text", content_type, &texts()));
        table.push(line("text that is base64", content_type, &base64_texts()));
    }
    let page = include_str!("../../docs/layers.md");
    for line in &table {
        // A file that was not encoded is stored unchanged.
        assert!(line.split('|').nth(4).unwrap().trim() == "0", "{line}");
    }
    for line in &table {
        assert!(
            page.contains(line),
            "docs/layers.md has not all of\n{}",
            table.join("\n")
        );
    }
}

#[test]
fn the_codecs_are_those_of_the_standard() {
    assert_eq!(
        [0, -1, 32_767, -32_768, 1000].map(mu_law),
        [0xff, 0x7f, 0x80, 0x00, 0xce]
    );
    assert_eq!([0, -1, 32_767, -32_768].map(a_law), [0xd5, 0x55, 0xaa, 0x2a]);
}
