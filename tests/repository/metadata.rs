//! `docs/metadata.md` and the types of `kazoo_storage::metadata`, compared with the captured requests.

use std::collections::{BTreeMap, BTreeSet};

use kazoo_storage::{
    BlobKey, ErrorKind, Metadata, Result,
    kazoo_id::AttachmentKind,
    metadata::{Fax, Recording, Voicemail},
};
use kazoo_storage_test_support::fixture::{FIXTURES, Fixture, target};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

const PAGE: &str = include_str!("../../docs/metadata.md");

/// The path of each field of a document, with its JSON type.
type Fields = BTreeMap<String, &'static str>;

/// The rows of the tables in the section `heading`, without their head.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let start = PAGE.find(&format!("\n## {heading}\n")).expect(heading) + 1;
    let end = PAGE[start..].find("\n## ").map_or(PAGE.len(), |len| start + len);
    let lines = PAGE[start..end].lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// The text in the backticks of `cell`.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The path, the JSON type and the example of each field in the section `heading`. An object has no example.
fn documented(heading: &str) -> Vec<(&'static str, &'static str, Option<Value>)> {
    let rows = rows(heading).into_iter();
    rows.map(|row| {
        let example = quoted(row[3]).next();
        let example = example.map(|json| serde_json::from_str(json).unwrap());
        (quoted(row[0]).next().unwrap(), row[1], example)
    })
    .collect()
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        Value::Object(_) => "object",
        Value::Array(_) => "list",
        Value::Null => "null",
    }
}

/// Adds the fields of `object`, whose path is `prefix`, to `fields`.
fn collect(prefix: &str, object: &Map<String, Value>, fields: &mut Fields) {
    for (name, value) in object {
        let path = format!("{prefix}{name}");
        if let Value::Object(nested) = value {
            collect(&format!("{path}."), nested, fields);
        }
        fields.insert(path, json_type(value));
    }
}

/// The key of an upload, if its path contains one.
fn key(fixture: &Fixture) -> BlobKey {
    let target = String::from_utf8_lossy(target(&fixture.request)).into_owned();
    BlobKey::from_path(target.split('?').next().unwrap()).unwrap()
}

/// The section that describes the document of `fixture`.
fn section(fixture: &Fixture, metadata: &Metadata) -> &'static str {
    if fixture.is_probe() {
        return "Credentials probe";
    }
    match AttachmentKind::of(&key(fixture), Some(metadata)) {
        Some(AttachmentKind::Voicemail) => "Voicemail",
        Some(AttachmentKind::CallRecording) => "Call recording",
        Some(AttachmentKind::Fax) => "Fax",
        None => panic!("{} has no kind", fixture.case),
    }
}

/// The captured documents, each with its fixture.
fn documents() -> impl Iterator<Item = (&'static Fixture, Metadata)> {
    FIXTURES.iter().filter_map(|fixture| {
        let json = fixture.metadata.clone()?;
        Some((fixture, Metadata::from_json(json).unwrap()))
    })
}

/// Reads `metadata` as the type of the section `heading`.
fn read(heading: &str, metadata: &Metadata) -> Result<()> {
    match heading {
        "Voicemail" => metadata.deserialize::<Voicemail>().map(drop),
        "Call recording" => metadata.deserialize::<Recording>().map(drop),
        "Fax" => metadata.deserialize::<Fax>().map(drop),
        other => panic!("no type for {other}"),
    }
}

#[test]
fn the_page_lists_the_fields_of_the_captured_documents() {
    let mut captured: BTreeMap<&str, Fields> = BTreeMap::new();
    for (fixture, metadata) in documents() {
        let fields = captured.entry(section(fixture, &metadata)).or_default();
        collect("", &metadata.to_map(), fields);
    }
    assert_eq!(captured.len(), 4);
    for (heading, fields) in captured {
        let documented = documented(heading);
        let listed: Fields = documented
            .iter()
            .map(|(path, json_type, _)| ((*path).to_owned(), *json_type))
            .collect();
        assert_eq!(listed, fields, "{heading}");
        for (path, expected, example) in documented {
            let example = example.as_ref().map_or("object", json_type);
            assert_eq!(example, expected, "{heading}: {path}");
        }
    }
}

#[test]
fn captured_documents_deserialize_to_the_type_of_their_kind() {
    let mut read_as = BTreeSet::new();
    for (fixture, metadata) in documents().filter(|(fixture, _)| !fixture.is_probe()) {
        let heading = section(fixture, &metadata);
        read(heading, &metadata).unwrap();
        read_as.insert(heading);
    }
    assert_eq!(read_as.len(), 3);

    let of = |what: &str| documents().find(|(fixture, _)| fixture.what() == what).unwrap().1;
    let voicemail: Voicemail = of("put-mp-mp3").deserialize().unwrap();
    let unix = voicemail
        .utc_seconds
        .unwrap()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert_eq!(
        httpdate::fmt_http_date(std::time::UNIX_EPOCH + unix),
        "Mon, 15 Jan 2024 10:20:30 GMT"
    );
    assert_eq!(voicemail.metadata.timestamp, voicemail.utc_seconds);
    assert_eq!(voicemail.metadata.length.unwrap().as_millis(), 12_500);
    let recording: Recording = of("call-recording-storage-plan").deserialize().unwrap();
    assert_eq!(
        recording.duration_ms.unwrap().as_secs(),
        recording.duration.unwrap().as_secs()
    );
    assert_eq!(recording.custom_channel_vars.owner_id, recording.owner_id);
    let fax: Fax = of("fax-tiff-mp-b64").deserialize().unwrap();
    assert_eq!(
        (fax.rx_result.total_pages, fax.rx_result.success),
        (Some(2), Some(true))
    );
}

/// Each field in turn has a value that no field accepts. A type without the field would skip it.
#[test]
fn the_types_have_every_field_of_the_page() {
    for heading in ["Voicemail", "Call recording", "Fax"] {
        read(heading, &Metadata::from_json("{}").unwrap()).unwrap();
        for (path, ..) in documented(heading) {
            let null = path.rsplit('.').fold(Value::Null, |value, name| json!({ name: value }));
            read(heading, &Metadata::from_json(null.to_string()).unwrap()).unwrap();
            let wrong = path.rsplit('.').fold(json!([[]]), |value, name| json!({ name: value }));
            let error = read(heading, &Metadata::from_json(wrong.to_string()).unwrap()).expect_err(path);
            assert_eq!(error.kind(), ErrorKind::InvalidMetadata, "{path}");
            assert!(error.to_string().contains(&format!("`{path}`")), "{path}: {error}");
        }
    }
}

/// The names of the parameters in the query of `request`, from `after` on.
fn parameters(request: &[u8], after: &str) -> Vec<String> {
    let target = String::from_utf8_lossy(target(request)).into_owned();
    let query = target.split_once(after).map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect()
}

#[test]
fn a_fetch_has_the_fields_of_the_page_in_its_query() {
    let mut seen: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (fixture, metadata) in documents() {
        let Some(fetch) = &fixture.fetch else { continue };
        let heading = section(fixture, &metadata);
        for name in parameters(fetch, "?") {
            if name != "key" && name != "recording" {
                seen.entry(heading).or_default().insert(name);
            }
        }
    }
    assert_eq!(seen.len(), 4, "{:?}", seen.keys());
    for (heading, names) in seen {
        let documented = documented(heading);
        let fields = documented.iter().filter(|(.., example)| example.is_some());
        let expected: BTreeSet<String> = fields
            .filter_map(|(path, ..)| match (heading, path.split_once('.')) {
                ("Voicemail", nested) => Some(nested?.1.to_owned()),
                (_, Some((object, name))) => Some(format!("{object}[{name}]")),
                (_, None) => Some((*path).to_owned()),
            })
            .collect();
        assert_eq!(names, expected, "{heading}");
    }
}

#[test]
fn the_page_lists_the_parameters_of_recordings_with_a_url_of_their_own() {
    let rows = rows("Recordings with a URL of their own");
    let listed: BTreeSet<&str> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    let since_4_0: BTreeSet<&str> = rows
        .iter()
        .filter(|row| row[2] == "4.0")
        .flat_map(|row| quoted(row[0]))
        .collect();
    let mut seen = BTreeSet::new();
    for fixture in FIXTURES.iter().filter(|fixture| fixture.what().contains("other-url")) {
        let names = parameters(&fixture.request, ".mp3");
        // The first begins with the delimiter.
        let names: BTreeSet<String> = names
            .iter()
            .map(|name| name.trim_start_matches('?').to_owned())
            .collect();
        if fixture.case.starts_with("D0-4.0") {
            assert_eq!(names.iter().map(|name| &**name).collect::<BTreeSet<_>>(), since_4_0);
        }
        seen.extend(names);
    }
    assert_eq!(seen.iter().map(|name| &**name).collect::<BTreeSet<_>>(), listed);
}
