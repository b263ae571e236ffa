//! Compares decoding base64 as it arrives with decoding it all at once.
// A bench fails by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{convert::Infallible, hint::black_box};

use base64::{Engine, engine::general_purpose::PAD};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kazoo_storage::{Base64, Body, DecodeBase64, metadata::MediaPart};
use kazoo_storage_benches::{
    chunks::{Chunks, length, now},
    kazoo::media,
    ratio::{ratio, size},
};
use tower::{Layer as _, ServiceExt as _, service_fn};

const CHUNKS: [(&str, usize); 5] = [
    ("16KiB", 16 << 10),
    ("64KiB", 64 << 10),
    ("16KiB+1", (16 << 10) + 1),
    ("64KiB+3", (64 << 10) + 3),
    ("1460", 1460),
];

fn decode_base64(criterion: &mut Criterion) {
    let engine = engine();
    let media = media(size(12 << 20));
    let text = Bytes::from(engine.encode(&media));
    // Reuses memory: the first access to fresh pages would cost as much as decoding.
    let mut buffer = vec![0; media.len() + 2];
    let mut floor = || {
        let length = engine.decode_slice(black_box(&text), &mut buffer).unwrap();
        assert_eq!(length, media.len());
    };

    let mut group = criterion.benchmark_group("base64");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.sample_size(20);
    for (name, chunk) in CHUNKS {
        assert_eq!(now(collect(&text, chunk)), media);
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(now(ours(&text, chunk)), media.len()));
        });
    }
    group.bench_function("one-shot", |bencher| bencher.iter(&mut floor));
    group.finish();

    for (name, chunk) in CHUNKS {
        let ours = || assert_eq!(now(ours(&text, chunk)), media.len());
        // No goal for single packets, because a server reads more at once.
        let goal = (chunk >= 16 << 10).then_some(0.90);
        ratio(&format!("base64/{name}"), "one-shot", goal, ours, &mut floor);
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn engine() -> impl Engine {
    base64::engine::Simd::standard(PAD)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn engine() -> impl Engine {
    base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, PAD)
}

fn request(text: &Bytes, chunk: usize) -> Request<Chunks> {
    Request::put("/ACC/DOC/message.mp3")
        .header("content-type", "audio/mpeg")
        .extension(MediaPart::default())
        .body(Chunks::new(text, chunk))
        .unwrap()
}

/// Decodes `text` in chunks of `chunk` bytes, and returns the decoded length.
async fn ours(text: &Bytes, chunk: usize) -> usize {
    let service = DecodeBase64::new(Base64::Declared).layer(service_fn(async |request: Request<Body>| {
        let length = length(request.into_body()).await;
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(length);
        Ok::<_, Infallible>(response)
    }));
    let response = service.oneshot(request(text, chunk)).await.unwrap();
    *response.extensions().get().unwrap()
}

async fn collect(text: &Bytes, chunk: usize) -> Bytes {
    let service = DecodeBase64::new(Base64::Declared).layer(service_fn(async |request: Request<Body>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    }));
    let response = service.oneshot(request(text, chunk)).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

criterion_group!(benches, decode_base64);
criterion_main!(benches);
