//! Extracting a key takes time linear in the length of the target.
//!
//! Each test compares the longest input with an eighth of it: linear work takes 8 times as long, quadratic work 64
//! times.

use std::time::{Duration, Instant};

use http::{Request, request::Parts};
use kazoo_storage::{
    BlobKey, Metadata, PathKey,
    extract_key::{KeyExtractor, MetadataKey, QueryKey},
    key::Candidates,
    settings::KazooSettings,
};

/// Maximum length of a target in hyper.
const LONGEST: usize = 65_534;
/// Length of the short inputs in relation to the long ones.
const FRACTION: usize = 8;
/// Maximum ratio of the durations: between that of linear and that of quadratic work.
const MAX_RATIO: u32 = 24;
/// Duration below which the ratio does not matter. The longest input takes a fifth of it in a debug build; quadratic work
/// takes seconds.
const NEGLIGIBLE: Duration = Duration::from_millis(100);

const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

/// Texts that are repeated to make a target.
const PATTERNS: [&str; 18] = [
    "/",
    "a",
    "a/",
    "//a",
    ".mp3",
    "a.tiff/",
    "/.mp3",
    ".",
    "%",
    "%2F",
    "%41",
    "&",
    "=",
    "a=&",
    "recording=&",
    "id=a&",
    "system_data",
    "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7/",
];

/// Targets of at most `len` bytes.
fn targets(len: usize) -> Vec<String> {
    let mut targets = Vec::new();
    for front in ["/", "/?recording=", "/?recording=A/", "/?recording=A/B.mp3", "/a?id="] {
        for pattern in PATTERNS {
            let repeated = pattern.repeat((len - front.len()) / pattern.len());
            targets.push(format!("{front}{repeated}"));
        }
        // At the maximum length, as long as a key can be, and valid.
        let segment = ".mp3".repeat(255 * len / LONGEST);
        let segments = vec![&*segment; 32].join("/");
        targets.push(format!("{front}{segments}{segments}"));
        targets.push(format!("{front}{ACCOUNT}/{segments}/{segment}"));
    }
    assert!(targets.len() > 90 && targets.iter().all(|target| target.len() <= len));
    targets
}

/// Metadata in proportion to a target of `len` bytes.
fn metadata(len: usize) -> Metadata {
    Metadata::from_json(format!(r#"{{"x":"{}","id":"a"}}"#, "y".repeat(16 * len))).unwrap()
}

/// Asserts that the duration of `work` is linear in the length of its input.
///
/// The shortest of several durations counts, because other load on the machine only makes them longer.
fn assert_linear<T>(name: &str, short: &T, long: &T, mut work: impl FnMut(&T)) {
    let mut time = |input: &T| {
        let start = Instant::now();
        work(input);
        start.elapsed()
    };
    let mut shortest = [Duration::MAX; 2];
    for _ in 0..10 {
        for (shortest, input) in shortest.iter_mut().zip([short, long]) {
            *shortest = time(input).min(*shortest);
        }
        let [short, long] = shortest;
        if long < NEGLIGIBLE || long < MAX_RATIO * short {
            return;
        }
    }
    panic!("{name}: {shortest:?} for the short and the long input");
}

fn parts(target: &str, metadata: Option<&Metadata>) -> Parts {
    let (mut parts, ()) = Request::get(target).body(()).unwrap().into_parts();
    parts.extensions.extend(
        metadata
            .map(|metadata| {
                let mut extensions = http::Extensions::new();
                extensions.insert(metadata.clone());
                extensions
            })
            .unwrap_or_default(),
    );
    parts
}

#[test]
fn extracts_keys_in_linear_time() {
    let settings = |json: &str| KazooSettings::from_json(json).unwrap().key().clone();
    let extractors: Vec<(&str, Box<dyn KeyExtractor>)> = vec![
        ("PathKey", Box::new(PathKey)),
        ("QueryKey", Box::new(QueryKey::new("recording"))),
        ("MetadataKey", Box::new(MetadataKey::new(["media_id", "id", "call_id"]))),
        (
            "settings of a path",
            Box::new(settings(r#"{"url":"http://h/p","verb":"put"}"#)),
        ),
        (
            "settings of a query",
            Box::new(settings(r#"{"url":"http://h/p?recording=","verb":"put"}"#)),
        ),
        (
            "settings of one URL",
            Box::new(settings(
                r#"{"url":"http://h/p","verb":"put","field_list":[],"send_multipart":true}"#,
            )),
        ),
        (
            "a prefix",
            Box::new(PathKey.prefixed(|_: &Parts| BlobKey::from_segments(["tenant"]))),
        ),
    ];
    let lengths = [LONGEST / FRACTION, LONGEST];
    let metadata = lengths.map(metadata);
    let [short, long] = lengths.map(targets);
    for (short, long) in short.iter().zip(&long) {
        let requests = [parts(short, Some(&metadata[0])), parts(long, Some(&metadata[1]))];
        for (name, extractor) in &extractors {
            let name = format!("{name}, {}…", &long[..40]);
            assert_linear(&name, &requests[0], &requests[1], |request| {
                let _ = extractor.key(request);
                if let Ok(candidates) = extractor.candidates(request) {
                    assert!(candidates.iter().count() <= Candidates::MAX);
                }
            });
        }
    }
}

/// Each request searches its log line for the parts of a name.
#[test]
fn parses_names_in_linear_time() {
    for separator in ["-", "~", "."] {
        for list in [
            String::new(),
            r#","field_list":[{"arg":"account_id"},{"arg":"db"},{"arg":"id"},{"arg":"attachment"}]"#.to_owned(),
            format!(
                r#","field_list":[{}{{"arg":"id"}},{{"arg":"attachment"}}]"#,
                r#"{"field":"a"},{"arg":"id"},{"field":"owner_id"},"#.repeat(10)
            ),
        ] {
            let json = format!(r#"{{"url":"http://h/p","verb":"put","field_separator":"{separator}"{list}}}"#);
            let settings = KazooSettings::from_json(&json).unwrap();
            for pattern in [separator, "a", "a~", "a-", "a.", ACCOUNT] {
                let [short, long] = [1024 / FRACTION, 1024].map(|len| {
                    let name = pattern.repeat(len / pattern.len());
                    BlobKey::from_segments([&name]).unwrap()
                });
                assert_linear(&format!("{pattern}… with {json}"), &short, &long, |key| {
                    drop(settings.fields(key));
                });
            }
        }
    }
}
