//! Names, paths and queries that do not arrive.

use bytes::Bytes;
use http::{Method, Request, Uri};
use kazoo_storage::extract_key::QueryKey;
use tempfile::TempDir;

use super::{assert_causes, checked, echo, storage};
use crate::check::{
    SECRET, check,
    front::{
        Front, Running,
        Turn::{Answer, Pass},
        start,
    },
    green::written,
};

#[tokio::test]
async fn reports_a_path_outside_the_mount() {
    let running = start(Front::default(), storage(), "/elsewhere").await;
    let report = check(&[&running.url()]).await;
    // The front's own page, and then the storage's response.
    assert_causes(&report, 1, &["other_server"]);
    let report = check(&[&format!("http://{}/{SECRET}", running.address)]).await;
    assert_causes(&report, 1, &["other_server"]);
}

#[tokio::test]
async fn reports_names_that_do_not_arrive() {
    let escaped = Front::before(|request| {
        if request.uri().path().contains("%2F") {
            return Answer(echo(404, &request));
        }
        Pass(request)
    });
    assert_causes(&checked(escaped).await, 1, &["escaped_name"]);
    // Decoded twice: the `%` of the name is no longer an escape.
    let decodes = Front::before(|mut request| {
        let target = request.uri().to_string().replace("%25", "%").replace("%2F", "/");
        match target.parse::<Uri>() {
            Ok(uri) if request.method() != Method::GET => {
                *request.uri_mut() = uri;
                Pass(request)
            }
            _ => Pass(request),
        }
    });
    assert_causes(&checked(decodes).await, 1, &["escaped_name"]);
    let ascii = Front::before(|request| {
        if request.uri().path().is_ascii() {
            return Pass(request);
        }
        Answer(echo(400, &request))
    });
    assert_causes(&checked(ascii).await, 1, &["non_ascii_name"]);
}

/// KAZOO on newer Erlang sends a different spelling of such a URL, which this front may not accept.
#[tokio::test]
async fn reports_a_url_that_newer_erlang_rewrites() {
    let mount = "/pre%2Dfix/./x";
    let url = |running: &Running| format!("http://k%61zoo:{SECRET}@{}{mount}", running.address);
    let takes_both = start(Front::default(), storage(), mount).await;
    let report = check(&[&url(&takes_both)]).await;
    assert_causes(&report, 0, &["settings_warning"]);
    let findings = report.json["findings"].to_string();
    assert!(
        findings.contains("different spelling") && findings.contains("unescaped"),
        "{findings}"
    );

    for code in [404, 403, 405] {
        let verbatim = Front::before(move |request| {
            if request.uri().path().starts_with(mount) {
                return Pass(request);
            }
            Answer(echo(code, &request))
        });
        let verbatim = start(verbatim, storage(), mount).await;
        let report = check(&[&url(&verbatim)]).await;
        assert_causes(&report, 1, &["normalized_url_fails", "settings_warning"]);
        let finding = report.finding("normalized_url_fails");
        assert!(
            finding["where"].as_str().unwrap().starts_with("OpenKazoo | "),
            "{finding}"
        );
        assert!(finding["fix"].as_str().unwrap().contains("normalized"), "{finding}");
        // A check by settings reports it too.
        let settings = format!(r#"{{"url":"{}","verb":"put"}}"#, url(&verbatim));
        let directory = TempDir::new().unwrap();
        let settings = written(&directory, "storage.json", &settings);
        assert_causes(
            &check(&["--settings", &settings]).await,
            1,
            &["normalized_url_fails", "settings_warning"],
        );
    }
    // If neither spelling works, the spelling is not the cause.
    let nowhere = start(Front::default(), storage(), "/elsewhere").await;
    assert_causes(
        &check(&[&url(&nowhere)]).await,
        1,
        &["other_server", "settings_warning"],
    );
}

fn without_query(mut request: Request<Bytes>) -> Request<Bytes> {
    *request.uri_mut() = request.uri().path().parse().unwrap();
    request
}

#[tokio::test]
async fn reports_a_lost_or_ignored_query() {
    let by_query = || storage().key(QueryKey::new("recording"));
    let url = |running: &Running| {
        format!(
            "http://kazoo:{SECRET}@{}/index.php?key={SECRET}&recording=",
            running.address
        )
    };
    let works = start(Front::default(), by_query(), "/index.php").await;
    assert_causes(&check(&[&url(&works)]).await, 0, &[]);
    let drops = start(
        Front::before(|request| Pass(without_query(request))),
        by_query(),
        "/index.php",
    )
    .await;
    assert_causes(&check(&[&url(&drops)]).await, 1, &["query_lost"]);
    let by_path = start(Front::default(), storage(), "/index.php").await;
    assert_causes(&check(&[&url(&by_path)]).await, 1, &["query_lost"]);
}

/// nginx merges slashes if `proxy_pass` has a path.
#[tokio::test]
async fn accepts_merged_slashes() {
    let directory = TempDir::new().unwrap();
    for folder in ["/abs/base", "/abs/base/", "base/"] {
        let merges = Front::before(|mut request| {
            let target = request.uri().to_string().replace("//", "/");
            *request.uri_mut() = target.parse().unwrap();
            Pass(request)
        });
        let running = start(merges, storage(), "/some_prefix").await;
        let url = running.url();
        let settings = format!(r#"{{"url":"{url}","verb":"put","folder_base_path":"{folder}"}}"#);
        let settings = written(&directory, "storage.json", &settings);
        assert_causes(&check(&["--settings", &settings]).await, 0, &[]);
    }
}
