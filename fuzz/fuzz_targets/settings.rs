//! KAZOO's storage settings, and names split by them. The input is the JSON, a line break, and a name.

#![no_main]

use kazoo_storage::{BlobKey, ErrorKind, settings::KazooSettings};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let (json, name) = text.split_once('\n').unwrap_or((text, "ACC/DOC/ATT.mp3"));
    let settings = match KazooSettings::from_json(json) {
        Ok(settings) => settings,
        Err(error) => return assert_eq!(error.kind(), ErrorKind::InvalidRequest),
    };
    let mount = settings.mount();
    assert!(
        mount.starts_with('/') && (mount == "/" || !mount.ends_with('/')),
        "{mount}"
    );
    let value: Value = serde_json::from_str(json).unwrap();
    // The same settings, formatted differently.
    let again = KazooSettings::from_json(&format!("{value:#}")).unwrap();
    assert_eq!(again.mount(), mount);
    assert_eq!(again.base64(), settings.base64());
    assert!(again.warnings().eq(settings.warnings()));
    let Ok(key) = BlobKey::from_path(name) else { return };
    let fields = settings.fields(&key);
    // Each field is part of the key.
    let name: Vec<&str> = key.segments().collect();
    let name = name.join("/");
    for part in [
        fields.account,
        fields.owner,
        fields.document,
        fields.attachment,
        fields.database,
    ] {
        assert!(part.is_none_or(|part| name.contains(&part)), "{name}");
    }
});
