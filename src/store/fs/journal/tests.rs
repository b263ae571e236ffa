use super::*;
use crate::key::BlobKey;

#[test]
fn nothing_is_durable_any_more_once_a_sync_has_failed() {
    let root = tempfile::tempdir().unwrap();
    let dir = File::open(root.path()).unwrap();
    let stage = Arc::new(Stage::open(&dir).unwrap());
    let journal = Journal::create(&dir, &stage).unwrap();
    let key = BlobKey::from_path("ACC/DOC/message.mp3").unwrap();
    let change = Change {
        key: &key,
        modified: SystemTime::now(),
        content: Content::Deleted,
        sidecar: None,
    };
    journal.sync_besides(|| Ok(())).unwrap();
    drop(journal.append(&change).unwrap());
    journal.check().unwrap();

    let failure = || Err(failed("make an upload durable", io::Error::other("the disk")));
    for error in [
        journal.sync_besides(failure).unwrap_err(),
        journal.append(&change).unwrap_err(),
        journal.check().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("opened again"), "{error}");
    }
}
