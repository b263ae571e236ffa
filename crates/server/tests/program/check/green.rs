//! The server in each of its configurations: every scenario works.

use std::{fs, path::Path};

use kazoo_storage_client::{Dialect, Multipart};
use tempfile::TempDir;

use crate::process::Server;

use super::{Report, SECRET, check, program, text};

/// Starts a server with these options, whose store is in `directory`.
pub(crate) fn serve(directory: &Path, options: &[&str]) -> Server {
    Server::start(&directory.join("data"), &[&["--no-fsync"], options].concat())
}

/// Writes a file in `directory` and returns its path.
pub(crate) fn written(directory: &TempDir, name: &str, content: &str) -> String {
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    text(&path).to_owned()
}

/// The number of scenarios of a check by URL: each body form that a release supports, with both verbs.
fn scenarios() -> usize {
    let forms = |dialect: &Dialect| {
        1 + usize::from(dialect.multipart != Multipart::Never) + usize::from(dialect.encodes_base64)
    };
    Dialect::ALL.iter().map(|dialect| 2 * forms(dialect)).sum()
}

fn assert_green(report: &Report, scenarios: usize) {
    assert_eq!((report.exit, report.causes()), (0, vec![]), "{:#}", report.json);
    let dialects = report.json["dialects"].as_array().unwrap();
    let all: Vec<_> = dialects
        .iter()
        .flat_map(|dialect| dialect["scenarios"].as_array().unwrap())
        .collect();
    assert_eq!(all.len(), scenarios, "{:#}", report.json);
    assert!(all.iter().all(|scenario| scenario["works"] == true));
    assert_eq!(report.json["complete"], true);
}

#[tokio::test]
async fn passes_on_a_plain_server() {
    let directory = TempDir::new().unwrap();
    let server = serve(directory.path(), &[]);
    let url = format!("http://127.0.0.1:{}/some_prefix", server.address.port());
    assert_green(&check(&[&url]).await, scenarios());

    // A second check leaves no more files behind.
    let account = directory.path().join("data/c4ecc4ecc4ecc4ecc4ecc4ecc4ecc4ec");
    let count = || fs::read_dir(&account).unwrap().count();
    let left = count();
    assert_green(&check(&[&url]).await, scenarios());
    assert_eq!(count(), left);
}

#[tokio::test]
async fn passes_with_credentials() {
    let directory = TempDir::new().unwrap();
    let rules = format!(r#"{{"credentials":[{{"user":"kazoo","password":"{SECRET}"}},{{"token":"{SECRET}"}}]}}"#);
    let rules = written(&directory, "access.json", &rules);
    let server = serve(directory.path(), &["--access", &rules]);
    let host = format!("127.0.0.1:{}", server.address.port());
    assert_green(
        &check(&[&format!("http://kazoo:{SECRET}@{host}/some_prefix")]).await,
        scenarios(),
    );
    assert_green(
        &check(&[&format!("http://{host}/some_prefix/{SECRET}")]).await,
        scenarios(),
    );
}

#[tokio::test]
async fn passes_with_tls() {
    let directory = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = written(&directory, "cert.pem", &made.cert.pem());
    let key = written(&directory, "key.pem", &made.signing_key.serialize_pem());
    let server = serve(directory.path(), &["--tls-cert", &cert, "--tls-key", &key]);
    let url = format!("https://localhost:{}/some_prefix", server.address.port());
    assert_green(&check(&[&url, "--ca", &cert]).await, scenarios());
}

#[tokio::test]
async fn passes_with_the_name_in_the_query() {
    let directory = TempDir::new().unwrap();
    let server = serve(directory.path(), &["--mount", "/index.php", "--key", "query=recording"]);
    let url = format!(
        "http://127.0.0.1:{}/index.php?key={SECRET}&recording=",
        server.address.port()
    );
    assert_green(&check(&[&url]).await, scenarios());
}

#[tokio::test]
async fn passes_by_settings() {
    let directory = TempDir::new().unwrap();
    for (settings, expected, warnings) in [
        (
            r#""verb":"post","folder_base_path":"kazoo/files""#,
            Dialect::ALL.len(),
            0,
        ),
        (r#""verb":"put","send_multipart":true"#, Dialect::ALL.len(), 0),
        // 4.3.17 to 4.3.20 ignore `base64_encode_data`.
        (r#""verb":"put","send_multipart":true,"base64_encode_data":true"#, 4, 1),
        // Only 4.3.106 and later, and OpenKazoo, fetch with the metadata.
        (r#""verb":"put","send_multipart":true,"field_list":[]"#, 2, 1),
    ] {
        let document = |port: u16| format!(r#"{{"url":"http://127.0.0.1:{port}/some_prefix",{settings}}}"#);
        let store = directory
            .path()
            .join(format!("store{expected}{warnings}{}", settings.len()));
        // The server's document may name any port.
        let file = written(&directory, "storage.json", &document(80));
        let server = serve(&store, &["--settings", &file]);
        let file = written(&directory, "storage.json", &document(server.address.port()));
        let report = check(&["--settings", &file]).await;
        assert_eq!((report.exit, report.causes().len()), (0, warnings), "{:#}", report.json);
        let tried = report.json["dialects"].as_array().unwrap().len();
        let left_out = report.json["skipped"].as_array().unwrap().len();
        assert_eq!(
            (tried, tried + left_out),
            (expected, Dialect::ALL.len()),
            "{:#}",
            report.json
        );
    }
}

/// Returns the exit status and the text report.
pub(crate) async fn text_report(options: &[&str]) -> (Option<i32>, String) {
    let output = program().arg("check").args(options).output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn prints_a_short_text_report() {
    let directory = TempDir::new().unwrap();
    let server = serve(directory.path(), &[]);
    let url = format!("http://localhost:{}/some_prefix/{SECRET}", server.address.port());
    let (status, text) = text_report(&["--large", "1KiB", &url]).await;
    assert_eq!(status, Some(0), "{text}");
    assert!(!text.contains(SECRET) && !text.contains('\x1b'), "{text}");
    let ticks = text.lines().filter(|line| line.starts_with('✓')).count();
    assert_eq!(ticks, Dialect::ALL.len(), "{text}");
    assert!(
        text.contains("warning: ") && text.contains("refuses the host `localhost`"),
        "{text}"
    );
    assert!(
        text.contains("\n11 files that the check stored remain on the server:\n"),
        "{text}"
    );
    assert!(text.lines().count() < 26, "{text}");
    // A warning about the settings has no redundant cause id.
    assert!(!text.contains("[settings_warning]"), "{text}");

    let wrong = url.replace("some_prefix", "wrong");
    let (status, text) = text_report(&[&wrong]).await;
    assert_eq!(status, Some(1), "{text}");
    // Each cause is reported once, with its response once.
    assert_eq!(text.matches("[wrong_path]").count(), 1, "{text}");
    assert_eq!(
        text.matches("check the URL in the storage settings").count(),
        1,
        "{text}"
    );
    let finding = text.lines().skip_while(|line| !line.contains("[wrong_path]"));
    let names: Vec<&str> = finding
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names, ["fix", "where", "response", "KAZOO"], "{text}");
    assert!(text.contains("where     everywhere | "), "{text}");
    assert!(
        text.contains(&format!("{} scenarios, stopped at the credentials probe)", scenarios())),
        "{text}"
    );
    assert!(
        text.contains(r#"400 {"attachments":{"HANDLER_ID":{"invalid":{"#),
        "{text}"
    );
    assert!(text.contains("--mount") && !text.contains("remain on"), "{text}");
}

/// A failure that only some settings cause is a warning if the settings are unknown.
#[tokio::test]
async fn warns_of_failures_that_depend_on_unknown_settings() {
    let directory = TempDir::new().unwrap();
    let settings = r#"{"url":"http://h:80/some_prefix","verb":"put","send_multipart":true}"#;
    let settings = written(&directory, "storage.json", settings);
    let server = serve(directory.path(), &["--settings", &settings]);
    let url = format!("http://127.0.0.1:{}/some_prefix", server.address.port());
    let (status, text) = text_report(&["--large", "1KiB", &url]).await;
    assert_eq!(status, Some(0), "{text}");
    assert!(
        text.contains("warning: fails only with `base64_encode_data`: ")
            && text.contains("`check --settings FILE` tests only your settings"),
        "{text}"
    );
    assert!(text.contains("✓ 4.3.106") && text.contains("base64 ✗"), "{text}");
    assert!(text.contains("works with KAZOO"), "{text}");

    let (status, text) = text_report(&[&url, "--load", "2", "--for", "1s", "--size", "1KiB"]).await;
    assert_eq!(status, Some(0), "{text}");
    // Only the measurements, and warnings about the settings.
    assert!(
        text.starts_with("warning: KAZOO refuses the host")
            && !text.contains('✓')
            && text.contains("p99")
            && text.contains("\n0 of "),
        "{text}"
    );
    assert!(!text.contains("works with") && text.contains("remain on"), "{text}");
    assert!(text.lines().count() < 25, "{text}");
}

#[tokio::test]
async fn reports_a_document_with_which_kazoo_stores_nothing() {
    let directory = TempDir::new().unwrap();
    let server = serve(directory.path(), &[]);
    let to = |handler: &str| serde_json::json!({"attachments": {"handler": handler}});
    let url = format!("http://127.0.0.1:{}/some_prefix", server.address.port());
    let handler = serde_json::json!({"handler": "http", "settings": {"url": url, "verb": "put"}});
    let types = serde_json::json!({"mailbox_message": to("US"), "fax": to("US")});
    let whole =
        serde_json::json!({"data": {"attachments": {"US": handler}, "plan": {"modb": {"types": types}}}}).to_string();
    for (document, exit, causes, says) in [
        (whole.clone(), 0, vec![], ""),
        (
            whole.replace("\"plan\"", "\"plna\""),
            1,
            vec!["unused_settings", "settings_warning"],
            "nothing in this document",
        ),
        (
            whole.replace("\"modb\"", "\"mdb\""),
            1,
            vec!["unused_settings", "settings_warning"],
            "nothing in this document",
        ),
        (
            whole.replace("mailbox_message", "voicemail"),
            0,
            vec!["settings_warning"],
            "the type `voicemail`",
        ),
        // Valid in KAZOO 5.
        (
            whole
                .replace("mailbox_message", "conference_recording")
                .replace("\"modb\"", "\"yodb\""),
            0,
            vec![],
            "",
        ),
        (
            whole.replacen("\"handler\":\"US\"", "\"handler\":\"abc\"", 1),
            0,
            vec!["settings_warning"],
            "`abc`",
        ),
        (
            whole["{\"data\":".len()..whole.len() - 1].to_owned(),
            0,
            vec!["settings_warning"],
            "{\"data\": {…}}",
        ),
    ] {
        let file = written(&directory, "storage.json", &document);
        let report = check(&["--settings", &file]).await;
        assert_eq!(
            (report.exit, report.causes()),
            (exit, causes),
            "{document}: {:#}",
            report.json
        );
        assert!(
            report.json["findings"].to_string().replace("\\\"", "\"").contains(says),
            "{:#}",
            report.json
        );
    }
}
