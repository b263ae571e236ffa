use super::*;

fn path(text: &str) -> Result<BlobKey> {
    BlobKey::from_path(text)
}

fn rule(text: &str) -> String {
    let error = path(text).expect_err(text);
    assert_eq!(error.kind(), ErrorKind::InvalidKey, "{text}");
    error.message().to_owned()
}

#[test]
fn splits_before_it_decodes_and_decodes_once() {
    let key = path("/a%2Fb/c%252Fd/%E2%82%AC//é/").unwrap();
    assert_eq!(key.segments().collect::<Vec<_>>(), ["a/b", "c%2Fd", "€", "é"]);
}

#[test]
fn display_round_trips() {
    for text in [
        "A/B/C",
        "a%2Fb/50%2520off",
        "%5C/..mp3/%2E%2E%2E",
        "q%22uo%27te/gr%C3%BC%C3%9Fe",
    ] {
        let key = path(text).unwrap();
        assert_eq!(path(&key.to_string()).unwrap(), key, "{text}");
    }
}

#[test]
fn names_the_violated_rule() {
    assert!(rule("").contains("names no file"));
    assert!(rule("///").contains("names no file"));
    for dots in ["a/./b", "a/../b", "%2e%2E/b", ".%2e", "a/%2E"] {
        assert!(rule(dots).contains("`.` or `..`"), "{dots}");
    }
    for control in ["a/%00", "%0a", "a%7F", "x/%C2%85"] {
        assert!(rule(control).contains("control character"), "{control}");
    }
    assert!(rule("a/%FF").contains("segment 2 of the path is not UTF-8"));
    assert!(rule("%C0%AE%C0%AE/x").contains("not UTF-8"), "overlong dots");
    assert!(rule(&"x".repeat(1025)).contains("1024"));
    assert!(path(&"x".repeat(1024)).is_ok());
    assert!(rule(&"x/".repeat(33)).contains("32"));
    assert!(path(&"x/".repeat(32)).is_ok());
    let longest = format!("{}/{}", "x".repeat(1024), "y".repeat(1023));
    assert!(path(&longest).is_ok());
    assert!(rule(&format!("{longest}y")).contains("longer than 2048 bytes"));
    assert!(BlobKey::from_segments(["a", ""]).is_err());
}

#[test]
fn accessors_name_the_default_layout() {
    let three = path("ACC/DOC/ATT").unwrap();
    assert_eq!(
        (
            three.account_id(),
            three.owner_id(),
            three.document_id(),
            three.attachment()
        ),
        (Some("ACC"), None, Some("DOC"), "ATT")
    );
    let four = path("ACC/OWN/DOC/ATT").unwrap();
    assert_eq!(
        (
            four.account_id(),
            four.owner_id(),
            four.document_id(),
            four.attachment()
        ),
        (Some("ACC"), Some("OWN"), Some("DOC"), "ATT")
    );
    let one = path("call_recording_1.mp3").unwrap();
    assert_eq!((one.account_id(), one.attachment()), (None, "call_recording_1.mp3"));
}

#[test]
fn a_detached_key_holds_only_its_own_segments() {
    let candidates = Candidates::from_path(&format!("a/{}", "x/".repeat(30))).unwrap();
    let shortest = candidates.iter().last().unwrap();
    assert_eq!(shortest.shared.len(), 31);
    let detached = shortest.detached();
    assert_eq!(detached, *shortest);
    assert_eq!(detached.shared.len(), 1);
}

#[test]
fn orders_candidates_without_duplicates() {
    let of = |text| {
        Candidates::from_path(text)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("A/B/A/B"), ["A/B", "A/B/A/B", "A/B/A", "A"]);
    assert_eq!(of("A/B/C/C"), ["A/B/C/C", "A/B/C", "A/B", "A"]);
    assert_eq!(of("A"), ["A"]);
    assert_eq!(of(&"x/".repeat(64)).len(), 32);
    assert!(Candidates::from_path(&"x/".repeat(65)).is_err());
}

#[test]
fn finds_the_longest_key_at_its_doubled_path() {
    let longest = format!("{}/{}", "x".repeat(1024), "y".repeat(1023));
    let candidates = Candidates::from_path(&format!("{longest}/{longest}")).unwrap();
    assert_eq!(candidates.first().to_string(), longest);
    assert!(candidates.iter().all(|key| path(&key.to_string()).is_ok()));
    assert!(Candidates::from_path(&format!("{longest}/{longest}/z")).is_err());
}
