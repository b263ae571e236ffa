//! The program itself, set up in every way that it has: all of it works.

use std::{fs, path::Path, process::Stdio};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
};

use super::{Report, SECRET, check, program, text};

/// A server, killed when it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    _child: Child,
}

/// Serves what is in `directory`, by these options.
pub(crate) async fn serve(directory: &Path, options: &[&str]) -> Server {
    let mut command = program();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--no-fsync", "--store"])
        .arg(directory.join("data"))
        .args(options)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    Server {
        port: line.rsplit(':').next().unwrap().parse().unwrap(),
        _child: child,
    }
}

/// A file in `directory` with this text.
pub(crate) fn written(directory: &TempDir, name: &str, content: &str) -> String {
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    text(&path).to_owned()
}

fn assert_green(report: &Report, ways: usize) {
    assert_eq!((report.exit, report.causes()), (0, vec![]), "{:#}", report.json);
    let dialects = report.json["dialects"].as_array().unwrap();
    let all: Vec<_> = dialects
        .iter()
        .flat_map(|dialect| dialect["ways"].as_array().unwrap())
        .collect();
    assert_eq!(all.len(), ways, "{:#}", report.json);
    assert!(all.iter().all(|way| way["works"] == true));
    assert_eq!(report.json["whole"], true);
}

#[tokio::test]
async fn plain() {
    let directory = TempDir::new().unwrap();
    let server = serve(directory.path(), &[]).await;
    let url = format!("http://127.0.0.1:{}/some_prefix", server.port);
    // Raw by six, multipart by five, base64 by three, each with both verbs.
    assert_green(&check(&[&url]).await, 28);

    // What is left behind is no more after the second.
    let account = directory.path().join("data/c4ecc4ecc4ecc4ecc4ecc4ecc4ecc4ec");
    let count = || fs::read_dir(&account).unwrap().count();
    let left = count();
    assert_green(&check(&[&url]).await, 28);
    assert_eq!(count(), left);
}

#[tokio::test]
async fn with_credentials() {
    let directory = TempDir::new().unwrap();
    let rules = format!(r#"{{"credentials":[{{"user":"kazoo","password":"{SECRET}"}},{{"token":"{SECRET}"}}]}}"#);
    let rules = written(&directory, "access.json", &rules);
    let server = serve(directory.path(), &["--access", &rules]).await;
    let host = format!("127.0.0.1:{}", server.port);
    assert_green(
        &check(&[&format!("http://kazoo:{SECRET}@{host}/some_prefix")]).await,
        28,
    );
    assert_green(&check(&[&format!("http://{host}/some_prefix/{SECRET}")]).await, 28);
}

#[tokio::test]
async fn with_tls() {
    let directory = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = written(&directory, "cert.pem", &made.cert.pem());
    let key = written(&directory, "key.pem", &made.signing_key.serialize_pem());
    let server = serve(directory.path(), &["--tls-cert", &cert, "--tls-key", &key]).await;
    let url = format!("https://localhost:{}/some_prefix", server.port);
    assert_green(&check(&[&url, "--ca", &cert]).await, 28);
}

#[tokio::test]
async fn with_the_name_in_the_query() {
    let directory = TempDir::new().unwrap();
    let server = serve(directory.path(), &["--mount", "/index.php", "--key", "query=recording"]).await;
    let url = format!("http://127.0.0.1:{}/index.php?key={SECRET}&recording=", server.port);
    assert_green(&check(&[&url]).await, 28);
}

#[tokio::test]
async fn by_settings() {
    let directory = TempDir::new().unwrap();
    for (settings, ways, warnings) in [
        (r#""verb":"post","folder_base_path":"kazoo/files""#, 6, 0),
        (r#""verb":"put","send_multipart":true"#, 6, 0),
        // 4.3.17 to 4.3.20, and what was developed then, send what the settings deny.
        (r#""verb":"put","send_multipart":true,"base64_encode_data":true"#, 4, 1),
        // Only 4.3.106 and later, and OpenKazoo, fetch by the metadata.
        (r#""verb":"put","send_multipart":true,"field_list":[]"#, 2, 1),
    ] {
        let document = |port: u16| format!(r#"{{"url":"http://127.0.0.1:{port}/some_prefix",{settings}}}"#);
        let store = directory
            .path()
            .join(format!("store{ways}{warnings}{}", settings.len()));
        // The document says the same of any port.
        let file = written(&directory, "storage.json", &document(80));
        let server = serve(&store, &["--settings", &file]).await;
        let file = written(&directory, "storage.json", &document(server.port));
        let report = check(&["--settings", &file]).await;
        assert_eq!((report.exit, report.causes().len()), (0, warnings), "{:#}", report.json);
        let tried = report.json["dialects"].as_array().unwrap().len();
        let left_out = report.json["left_out"].as_array().unwrap().len();
        assert_eq!((tried, tried + left_out), (ways, 6), "{:#}", report.json);
    }
}

/// What the command exits with, and what people read.
pub(crate) async fn told(options: &[&str]) -> (Option<i32>, String) {
    let output = program().arg("check").args(options).output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn what_people_read_is_short() {
    let directory = TempDir::new().unwrap();
    let server = serve(directory.path(), &[]).await;
    let url = format!("http://localhost:{}/some_prefix/{SECRET}", server.port);
    let (status, said) = told(&["--large", "1KiB", &url]).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains(SECRET) && !said.contains('\x1b'), "{said}");
    let ticks = said.lines().filter(|line| line.starts_with('✓')).count();
    assert_eq!(ticks, 6, "{said}");
    assert!(
        said.contains("warning: ") && said.contains("refuses the host `localhost`"),
        "{said}"
    );
    assert!(
        said.contains("\n11 files that the check stored are left behind:\n"),
        "{said}"
    );
    assert!(said.lines().count() < 26, "{said}");
    // What a warning says of the settings is said once.
    assert!(!said.contains("[warning]"), "{said}");

    let wrong = url.replace("some_prefix", "wrong");
    let (status, said) = told(&[&wrong]).await;
    assert_eq!(status, Some(1), "{said}");
    // One cause is one finding, however often it was seen, and what was answered is there once.
    assert_eq!(said.matches("[wrong_path]").count(), 1, "{said}");
    assert_eq!(
        said.matches("check the URL in the storage settings").count(),
        1,
        "{said}"
    );
    let finding = said.lines().skip_while(|line| !line.contains("[wrong_path]"));
    let names: Vec<&str> = finding
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names, ["change", "where", "answer", "KAZOO"], "{said}");
    assert!(said.contains("where    everywhere | "), "{said}");
    assert!(
        said.contains("28 ways to send a file, tried up to the test of the credentials)"),
        "{said}"
    );
    assert!(
        said.contains(r#"400 {"attachments":{"HANDLER_ID":{"invalid":{"#),
        "{said}"
    );
    assert!(said.contains("--mount") && !said.contains("left behind"), "{said}");
}

/// What only some settings need is no failure of a server that was started by others.
#[tokio::test]
async fn the_settings_are_not_known_from_a_url() {
    let directory = TempDir::new().unwrap();
    let settings = r#"{"url":"http://h:80/some_prefix","verb":"put","send_multipart":true}"#;
    let settings = written(&directory, "storage.json", settings);
    let server = serve(directory.path(), &["--settings", &settings]).await;
    let url = format!("http://127.0.0.1:{}/some_prefix", server.port);
    let (status, said) = told(&["--large", "1KiB", &url]).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("warning: fails only with `base64_encode_data`: ")
            && said.contains("`check --settings FILE` tries what yours have"),
        "{said}"
    );
    assert!(said.contains("✓ 4.3.106") && said.contains("base64 ✗"), "{said}");
    assert!(said.contains("does what KAZOO needs"), "{said}");

    let (status, said) = told(&[&url, "--load", "2", "--for", "1s", "--size", "1KiB"]).await;
    assert_eq!(status, Some(0), "{said}");
    // Nothing but what was measured, and what the settings themselves may bring.
    assert!(
        said.starts_with("warning: KAZOO refuses the host")
            && !said.contains('✓')
            && said.contains("p99")
            && said.contains("\n0 of "),
        "{said}"
    );
    assert!(!said.contains("needs") && said.contains("left behind"), "{said}");
    assert!(said.lines().count() < 24, "{said}");
}

#[tokio::test]
async fn a_document_by_which_kazoo_stores_nothing() {
    let directory = TempDir::new().unwrap();
    let server = serve(directory.path(), &[]).await;
    let to = |handler: &str| serde_json::json!({"attachments": {"handler": handler}});
    let url = format!("http://127.0.0.1:{}/some_prefix", server.port);
    let handler = serde_json::json!({"handler": "http", "settings": {"url": url, "verb": "put"}});
    let types = serde_json::json!({"mailbox_message": to("US"), "fax": to("US")});
    let whole =
        serde_json::json!({"data": {"attachments": {"US": handler}, "plan": {"modb": {"types": types}}}}).to_string();
    for (document, exit, causes, says) in [
        (whole.clone(), 0, vec![], ""),
        (
            whole.replace("\"plan\"", "\"plna\""),
            1,
            vec!["no_plan", "warning"],
            "nothing in this document",
        ),
        (
            whole.replace("\"modb\"", "\"mdb\""),
            1,
            vec!["no_plan", "warning"],
            "nothing in this document",
        ),
        (
            whole.replace("mailbox_message", "voicemail"),
            0,
            vec!["warning"],
            "the type `voicemail`",
        ),
        // As KAZOO 5 takes it.
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
            vec!["warning"],
            "`abc`",
        ),
        (
            whole["{\"data\":".len()..whole.len() - 1].to_owned(),
            0,
            vec!["warning"],
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
