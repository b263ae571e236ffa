use std::time::{Duration, UNIX_EPOCH};

use super::*;

fn written(record: &Record) -> Vec<u8> {
    record.slices().concat()
}

fn read_all(segment: &[u8]) -> Vec<(u64, Logged)> {
    let mut offset = 0;
    let entries = std::iter::from_fn(|| {
        let (epoch, entry, next) = read(segment, offset, Some(7))?;
        offset = next;
        Some((epoch, entry))
    });
    let changes = entries.filter_map(|(epoch, entry)| match entry {
        Entry::Change(logged) => Some((epoch, logged)),
        _ => None,
    });
    changes.collect()
}

fn segment() -> (Vec<u8>, usize) {
    let key = BlobKey::from_segments(["ACC", "a/b %.mp3"]).unwrap();
    let modified = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_000);
    let changes = [
        (
            Content::Whole(Bytes::from_static(b"ID3")),
            Some(Bytes::from_static(b"{}\n")),
        ),
        (Content::Deleted, None),
        (Content::Whole(Bytes::new()), None),
        (Content::Staged("17".to_owned()), Some(Bytes::new())),
    ];
    let mut segment = Vec::new();
    let mut last = 0;
    for (content, sidecar) in changes {
        let change = Change {
            key: &key,
            modified,
            content: content.clone(),
            sidecar: sidecar.clone(),
        };
        let mut record = Record::of(&change).unwrap();
        record.stamp(7);
        assert_eq!(written(&record).len() as u64, record.len());
        last = segment.len();
        segment.extend(written(&record));
        let (epoch, logged) = read_all(&segment).pop().unwrap();
        assert_eq!((epoch, logged.key, logged.modified), (7, key.clone(), modified));
        assert_eq!((logged.content, logged.sidecar), (content, sidecar));
    }
    (segment, last)
}

#[test]
fn reads_back_what_it_writes() {
    let (segment, _) = segment();
    assert_eq!(read_all(&segment).len(), 4);
    assert_eq!(read_all(&[&*segment, &[0; 100]].concat()).len(), 4);
}

#[test]
fn ignores_leftovers_of_another_epoch() {
    let (segment, _) = segment();
    // Uploaded content that imitates a record, at a position where one is expected.
    let forged = b"no JSON";
    let checksum = sealed(8, 7, 0, crc32fast::hash(forged));
    let tail = [&prefix(8, 7, 0, checksum)[..], forged].concat();
    assert_eq!(read_all(&[&*segment, &*tail].concat()).len(), 4);
    let (_, entry, _) = read(&tail, 0, None).unwrap();
    assert!(matches!(entry, Entry::Unknown(_)), "{entry:?}");
}

#[test]
fn ignores_a_torn_record() {
    let (segment, last) = segment();
    for end in last..segment.len() {
        assert_eq!(read_all(&segment[..end]).len(), 3, "{end}");
        // The file was extended before its data was written.
        let mut zeros = segment.clone();
        zeros[end..].fill(0);
        assert_eq!(read_all(&zeros).len(), 3, "{end}");
    }
    for at in last..segment.len() {
        let mut flipped = segment.clone();
        flipped[at] ^= 1;
        assert_eq!(read_all(&flipped).len(), 3, "{at}");
    }
}

#[test]
fn skips_a_withdrawn_record() {
    let (segment, last) = segment();
    let mut withdrawn = segment.clone();
    withdrawn[usize::try_from(MARK).unwrap()] ^= 0xff;
    assert_eq!(read_all(&withdrawn).len(), 3);
    withdrawn[last + usize::try_from(MARK).unwrap()] ^= 0xff;
    assert_eq!(read_all(&withdrawn).len(), 2);
}

#[test]
fn reads_the_records_after_a_damaged_one() {
    let (mut segment, last) = segment();
    segment[PREFIX + 5] ^= 1;
    assert_eq!(read_all(&segment).len(), 3);
    segment[last + PREFIX] ^= 1;
    assert_eq!(read_all(&segment).len(), 2);
}

#[test]
fn finds_the_record_after_a_damaged_length() {
    let (segment, last) = segment();
    for at in 8..16 {
        for damage in [1, 0x80, 0xff] {
            let mut segment = segment.clone();
            segment[at] ^= damage;
            let second = next(&segment, 1, 7).unwrap();
            assert_eq!(read_all(&segment[second..]).len(), 3);
            assert_eq!(next(&segment, last + 1, 7), None);
            assert_eq!(next(&segment, 1, 8), None);
        }
    }
}

/// Returns a record with a correct checksum.
fn sealed_record(head: &str, rest: &[u8]) -> Vec<u8> {
    let body = [head.as_bytes(), rest].concat();
    let (head, rest) = (u32::try_from(head.len()).unwrap(), u32::try_from(rest.len()).unwrap());
    let checksum = sealed(7, head, rest, crc32fast::hash(&body));
    [&prefix(7, head, rest, checksum)[..], &body].concat()
}

#[test]
fn keeps_all_parts_of_a_record_that_it_cannot_interpret() {
    let time = r#""modified":{"secs_since_epoch":1,"nanos_since_epoch":0}"#;
    let long = "x".repeat(2000);
    for (head, key, content, sidecar) in [
        ("no JSON".to_owned(), "", Content::Whole("{}ID3".into()), None),
        (
            format!(r#"{{"key":"ACC/a.mp3",{time},"sidecar":30,"staged":null}}"#),
            "ACC/a.mp3",
            Content::Whole("{}ID3".into()),
            None,
        ),
        (
            r#"{"key":"ACC/a.mp3","later":1,"staged":"7-1"}"#.to_owned(),
            "ACC/a.mp3",
            Content::Staged("7-1".to_owned()),
            None,
        ),
        (
            format!(r#"{{"key":"ACC/../a.mp3",{time},"sidecar":2,"staged":null}}"#),
            "ACC/../a.mp3",
            Content::Whole("ID3".into()),
            Some(Bytes::from("{}")),
        ),
        (
            format!(r#"{{"key":"{long}",{time},"sidecar":2,"staged":"7-1"}}"#),
            &long,
            Content::Staged("7-1".to_owned()),
            Some(Bytes::from("{}")),
        ),
    ] {
        let segment = sealed_record(&head, b"{}ID3");
        let (_, entry, _) = read(&segment, 0, None).unwrap();
        let Entry::Unknown(unknown) = entry else {
            panic!("{entry:?}")
        };
        assert_eq!(unknown.head, head);
        assert_eq!(
            (&*unknown.key, unknown.content, unknown.sidecar),
            (key, content, sidecar)
        );
    }
    let good = sealed_record(&format!(r#"{{"key":"a",{time},"sidecar":2,"staged":null}}"#), b"{}");
    assert_eq!(read_all(&good).len(), 1);
}
