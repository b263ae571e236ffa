use std::collections::{HashMap, HashSet};

use proptest::{collection::vec, prelude::*, sample::select, test_runner::RngSeed};

use super::*;

fn owned(names: Vec<Cow<'_, str>>) -> Vec<String> {
    names.into_iter().map(Cow::into_owned).collect()
}

fn of_file(key: &BlobKey) -> Vec<String> {
    owned(names(key, Kind::File))
}

#[test]
fn encodes_only_text_that_a_file_name_cannot_contain() {
    for (segment, name) in [
        ("message.mp3", "message.mp3"),
        ("with space & ünïcödé;.wav", "with space & ünïcödé;.wav"),
        ("50%.mp3", "50%25.mp3"),
        ("a/b.c", "a%2Fb.c"),
        ("a\\b.c", "a\\b.c"),
        ("..mp3", "%2E.mp3"),
        ("a.%2E", "a.%252E"),
        ("a.b%file", "a.b%25file"),
        ("a.b%dir", "a.b%25dir"),
    ] {
        assert_eq!(encode(segment, Kind::File), [name]);
        assert_eq!(encode(segment, Kind::Directory), [format!("{name}%dir")]);
        assert_eq!(is_plain(segment), segment == name, "{segment}");
    }
    for (segment, name) in [
        ("message", "message"),
        ("a/b", "a%2Fb"),
        (".hidden", "%2Ehidden"),
        ("%2E", "%252E"),
        ("lost+found", "%6Cost+found"),
        ("a%file", "a%25file"),
    ] {
        assert_eq!(encode(segment, Kind::File), [format!("{name}%file")]);
        assert_eq!(encode(segment, Kind::Directory), [name]);
        assert_eq!(is_plain(segment), segment == name, "{segment}");
    }
}

#[test]
fn splits_a_long_segment_between_escapes() {
    for segment in [
        "x".repeat(240),
        "x".repeat(241),
        "x".repeat(1024),
        "%".repeat(1024),
        ".".repeat(1024),
        "é".repeat(512),
        format!("{}€", "x".repeat(238)),
        format!("{}.hidden", "x".repeat(239)),
    ] {
        for kind in [Kind::File, Kind::Directory] {
            let names = encode(&segment, kind);
            let (last, others) = names.split_last().unwrap();
            for name in &names {
                assert!(sidecar(name).len() <= 255, "{name}");
                assert!(!name.starts_with('.'), "{name}");
            }
            assert!(others.iter().all(|name| name.ends_with('%')), "{names:?}");
            assert!(!last.ends_with('%'), "{last}");
            let segments = segments(&names).unwrap();
            assert_eq!(segments, [&*segment]);
        }
    }
    assert_eq!(encode(&"x".repeat(240), Kind::Directory).len(), 1);
}

#[test]
fn gives_every_key_a_different_path() {
    let long = "x".repeat(239);
    let mut seen = HashMap::new();
    for segments in [
        vec!["a", "b"],
        vec!["a/b"],
        vec!["a%2Fb"],
        vec!["a%", "b"],
        vec!["a%b"],
        vec![".a"],
        vec!["%2Ea"],
        vec!["lost+found", "a"],
        vec!["%6Cost+found", "a"],
        vec![&long, "yz"],
        vec![&*format!("{long}yz")],
        vec![&*format!("{long}%"), "yz"],
        vec![&*format!("{long}/yz")],
        vec![&*format!("{long}.yz")],
        vec!["a"],
        vec!["a%file"],
        vec!["a.b", "c"],
        vec!["a.b%dir", "c"],
        vec!["a.b%dir"],
    ] {
        let key = BlobKey::from_segments(&segments).unwrap();
        let names = of_file(&key);
        assert_eq!(Decoded(&names).to_string(), key.to_string());
        assert_eq!(seen.insert(names, segments.join("|")), None);
    }
}

#[test]
fn bounds_the_path_of_the_longest_key() {
    let of = |segments: &[String]| BlobKey::from_segments(segments).unwrap();
    // The longest possible keys with as many marks as possible: they are stored.
    let plain = [
        vec!["x".repeat(1024), "x".repeat(1023)],
        vec!["x.".repeat(31) + "x"; 32],
    ];
    for segments in plain {
        KeyPath::of(&of(&segments)).check().unwrap();
    }
    let encoded = of(&["%".repeat(1024), "/".repeat(1023)]);
    let error = KeyPath::of(&encoded).check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    assert!(error.message().contains("of at most 2560"), "{error}");
}

fn segment() -> impl Strategy<Value = String> {
    let part = select(vec![
        "a",
        "b",
        ".",
        "..",
        "%",
        "%file",
        "%dir",
        "%25",
        "/",
        "é",
        "lost+found",
        "x.y",
        ".json",
    ]);
    let long = (235_usize..250, select(vec!["x", "x.", "é", "%", "."])).prop_map(|(len, text)| text.repeat(len));
    let text = (
        vec(part, 1..5).prop_map(|parts| parts.concat()),
        proptest::option::weighted(0.2, long),
    );
    text.prop_map(|(text, long)| long.unwrap_or_default() + &text)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_map_back_to_their_key_and_files_and_directories_are_disjoint(keys in vec(vec(segment(), 1..4), 1..6)) {
        let keys = keys.iter().filter_map(|segments| BlobKey::from_segments(segments).ok());
        let (mut files, mut directories) = (HashMap::new(), HashSet::new());
        for key in keys {
            let names = of_file(&key);
            prop_assert_eq!(self::key(&names), Some(key.clone()));
            prop_assert!(names.iter().all(|name| !name.starts_with('.') && sidecar(name).len() <= 255));
            let beneath = owned(super::directories(&key));
            prop_assert_eq!(decode(&beneath, Kind::Directory), Some(key.clone()));
            for above in (1..names.len()).filter_map(|len| names.get(..len)) {
                directories.insert(above.to_vec());
            }
            directories.insert(beneath);
            if let Some(other) = files.insert(names, key.clone()) {
                prop_assert_eq!(other, key);
            }
        }
        for file in files.keys() {
            prop_assert!(!directories.contains(file), "{:?}", file);
        }
    }
}
