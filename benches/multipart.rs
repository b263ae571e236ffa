//! Compares extracting the media from a multipart body with only searching the same bytes for delimiters.
// A bench fails by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{convert::Infallible, hint::black_box};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kazoo_storage::{Body, Metadata, SplitMultipart};
use kazoo_storage_benches::{
    chunks::{Chunks, length, now},
    kazoo::{BOUNDARY, media, multipart},
    ratio::{ratio, size},
};
use memchr::memmem;
use multer::Multipart;
use tower::{Layer as _, ServiceExt as _, service_fn};

fn split_multipart(criterion: &mut Criterion) {
    let media = media(size(16 << 20));
    let body = multipart(&media);
    assert_eq!(now(collect(&body, 64 << 10)), media);

    let mut group = criterion.benchmark_group("multipart");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.sample_size(20);
    for (name, chunk) in [("16KiB", 16 << 10), ("64KiB", 64 << 10)] {
        let ours = || assert_eq!(now(ours(&body, chunk)), media.len());
        group.bench_function(name, |bencher| bencher.iter(ours));
    }
    group.bench_function("multer, whole", |bencher| {
        bencher.iter(|| assert_eq!(now(multer_whole(&body)), media.len()));
    });
    group.bench_function("memmem", |bencher| bencher.iter(|| floor(&body)));
    group.finish();

    for (name, chunk) in [("16KiB", 16 << 10), ("64KiB", 64 << 10)] {
        let name = format!("multipart/{name}");
        let ours = || assert_eq!(now(ours(&body, chunk)), media.len());
        ratio(&name, "memmem", Some(0.55), ours, || floor(&body));
        ratio(&name, "multer fed whole", None, ours, || {
            assert_eq!(now(multer_whole(&body)), media.len());
        });
    }
}

fn request(body: &Bytes, chunk: usize) -> Request<Chunks> {
    Request::put("/ACC/DOC/message.mp3")
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(Chunks::new(body, chunk))
        .unwrap()
}

/// Splits `body` in chunks of `chunk` bytes, and returns the length of the media.
async fn ours(body: &Bytes, chunk: usize) -> usize {
    let service = SplitMultipart::new().layer(service_fn(async |request: Request<Body>| {
        assert!(request.extensions().get::<Metadata>().is_some());
        let length = length(request.into_body()).await;
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(length);
        Ok::<_, Infallible>(response)
    }));
    let response = service.oneshot(request(body, chunk)).await.unwrap();
    *response.extensions().get().unwrap()
}

async fn collect(body: &Bytes, chunk: usize) -> Bytes {
    let service = SplitMultipart::new().layer(service_fn(async |request: Request<Body>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    }));
    let response = service.oneshot(request(body, chunk)).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Parses the whole body at once with multer.
async fn multer_whole(body: &Bytes) -> usize {
    let whole = http_body_util::BodyDataStream::new(Chunks::new(body, body.len()));
    let mut parts = Multipart::new(whole, BOUNDARY);
    parts.next_field().await.unwrap().unwrap().bytes().await.unwrap();
    let mut media = parts.next_field().await.unwrap().unwrap();
    let mut length = 0;
    while let Some(data) = media.chunk().await.unwrap() {
        length += black_box(data).len();
    }
    length
}

/// Searches for every delimiter.
fn floor(body: &Bytes) {
    let delimiter = format!("\r\n--{BOUNDARY}");
    assert_eq!(memmem::find_iter(black_box(body), &delimiter).count(), 3);
}

criterion_group!(benches, split_multipart);
criterion_main!(benches);
