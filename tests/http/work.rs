//! Extracting a key takes time linear in the length of the target.
//!
//! The longest target that hyper accepts takes each extractor milliseconds. With quadratic time, it would take
//! minutes.

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
/// A hundred times the slowest target, and a tenth of what slashes took with a former implementation.
const BOUND: Duration = Duration::from_millis(1500);

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

fn targets() -> Vec<String> {
    let mut targets = Vec::new();
    for front in ["/", "/?recording=", "/?recording=A/", "/?recording=A/B.mp3", "/a?id="] {
        for pattern in PATTERNS {
            let repeated = pattern.repeat((LONGEST - front.len()) / pattern.len());
            targets.push(format!("{front}{repeated}"));
        }
        // As long as a key can be, and valid.
        let segment = ".mp3".repeat(255);
        let segments = vec![&*segment; 32].join("/");
        targets.push(format!("{front}{segments}{segments}"));
        targets.push(format!("{front}{ACCOUNT}/{segments}/{segment}"));
    }
    targets.retain(|target| target.len() <= LONGEST);
    assert!(targets.len() > 90);
    targets
}

/// The shortest of a few durations of `work`. Other load on the machine only makes it longer.
fn time(mut work: impl FnMut()) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        work();
        shortest = shortest.min(start.elapsed());
        if shortest < BOUND / 10 {
            break;
        }
    }
    shortest
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
            "a closure",
            Box::new(|request: &Parts| BlobKey::from_path(request.uri.path())),
        ),
    ];
    let metadata = Metadata::from_json(format!(r#"{{"x":"{}","id":"a"}}"#, "y".repeat(1 << 20))).unwrap();
    for target in targets() {
        for (name, extractor) in &extractors {
            let request = parts(&target, Some(&metadata));
            let took = time(|| {
                let _ = extractor.key(&request);
                if let Ok(candidates) = extractor.candidates(&request) {
                    assert!(candidates.iter().count() <= Candidates::MAX);
                }
            });
            assert!(took < BOUND, "{name} took {took:?} for {}…", &target[..40]);
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
            let names = [separator, "a", "a~", "a-", "a.", ACCOUNT].map(|pattern| pattern.repeat(1024 / pattern.len()));
            for name in names {
                let key = BlobKey::from_segments([&name]).unwrap();
                let took = time(|| drop(settings.fields(&key)));
                assert!(took < BOUND / 5, "{took:?} for {json} and {}…", &name[..20]);
            }
        }
    }
}
