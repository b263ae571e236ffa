//! Compares extracting the key of a request with only splitting its path and decoding the segments.
// A bench fails by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{borrow::Cow, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::request::Parts;
use kazoo_storage::{
    BlobKey,
    extract_key::{KeyExtractor, QueryKey},
    key::Candidates,
};
use kazoo_storage_benches::ratio::ratio;
use percent_encoding::percent_decode_str;

const DEFAULT: &str =
    "/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7/202401-5d0b7b6c9f3e4a1d8c2b7a6e5f4d3c2b/call_recording_b3f6.mp3";
const ENCODED: &str = "/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7/202401-5d0b7b6c9f3e4a1d8c2b7a6e5f4d3c2b/ZGQ4%40pbx%3A5060%2FZo%C3%AB%20%26%20co.mp3";

fn key(criterion: &mut Criterion) {
    let doubled = DEFAULT.repeat(2);
    let query = get(&format!("/index.fu?key=abc&recording={}", &DEFAULT[1..]));
    let doubled_query = get(&format!("/index.fu?key=abc&recording={}", DEFAULT[1..].repeat(2)));
    let recording = QueryKey::new("recording");

    let from_path = |path: &str, last: &str| {
        let key = BlobKey::from_path(black_box(path)).unwrap();
        assert_eq!(key.attachment(), last);
    };
    let cases: [(&str, &str, &dyn Fn()); 5] = [
        ("default", DEFAULT, &|| from_path(DEFAULT, "call_recording_b3f6.mp3")),
        ("percent-encoded", ENCODED, &|| {
            from_path(ENCODED, "ZGQ4@pbx:5060/Zoë & co.mp3");
        }),
        ("doubled", &doubled, &|| {
            let candidates = Candidates::from_path(black_box(&doubled)).unwrap();
            assert_eq!(candidates.first().attachment(), "call_recording_b3f6.mp3");
            assert_eq!(candidates.iter().count(), 6);
        }),
        ("query", DEFAULT, &|| {
            let key = recording.key(black_box(&query)).unwrap();
            assert_eq!(key.attachment(), "call_recording_b3f6.mp3");
        }),
        ("query, doubled", &doubled, &|| {
            let candidates = recording.candidates(black_box(&doubled_query)).unwrap();
            assert_eq!(candidates.first().attachment(), "call_recording_b3f6.mp3");
        }),
    ];

    let mut group = criterion.benchmark_group("key");
    for (name, path, ours) in &cases {
        group.throughput(Throughput::Bytes(path.len() as u64));
        group.bench_function(*name, |bencher| bencher.iter(ours));
    }
    group.finish();
    for (name, path, ours) in cases {
        ratio(&format!("key/{name}"), "split and decode", None, ours, || floor(path));
    }
}

fn get(target: &str) -> Parts {
    http::Request::get(target).body(()).unwrap().into_parts().0
}

fn floor(path: &str) {
    let segments = black_box(path).split('/').filter(|segment| !segment.is_empty());
    let decoded: Vec<Cow<'_, str>> = segments
        .map(|segment| percent_decode_str(segment).decode_utf8().unwrap())
        .collect();
    assert!(decoded.last().unwrap().ends_with(".mp3"));
}

criterion_group!(benches, key);
criterion_main!(benches);
