//! `config check`.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{Site, refusal, text};
use crate::process::Server;

/// Runs `config check` and `serve`, and returns what `check` prints.
fn refused_by_both(site: &Site) -> String {
    let served = site.run(&["serve"]);
    assert!(!served.status.success(), "serve starts");
    if text(&served.stderr).contains("--audit-file") {
        // With 1, a service manager would start it again and again.
        assert_eq!(served.status.code(), Some(2));
    }
    refusal(&site.run(&["config", "check"]))
}

#[test]
fn check_refuses_what_serve_refuses_and_names_the_line() {
    for (file, expected) in [
        (
            "max_body = 1",
            "config.toml:1: unknown key `max_body`; is it `max-body`?",
        ),
        ("\nmax-body = \"many\"", "--max-body is set in "),
        ("tls-cert = \"/absent\"", "--tls-key"),
        ("\naccess = \"/absent\"", "cannot read --access /absent"),
        ("listen = \"0.0.0.0:8080\"", "--allow-anyone"),
        (
            "no-fsync = \"maybe\"",
            "config.toml:1: `no-fsync` must be `true` or `false`",
        ),
        (
            "mount = [\"/a\", \"/b\"]",
            "config.toml:1: `mount` has one value, and no list",
        ),
        ("mount = ", "config.toml:1: "),
        ("max-body = 0", "at least 1 byte"),
        ("max-metadata = \"0MiB\"", "at least 1 byte"),
        ("max-requests = 0", "at least 1"),
        ("max-requests-per-address = 0", "at least 1"),
        ("max-connections = 0", "at least 1"),
        ("max-connections-per-address = 0", "at least 1"),
        ("store-deadline = 0", "at least 1 second"),
    ] {
        let site = Site::with(file);
        for arguments in [&["config", "check"][..], &["serve", "--store", "data"]] {
            let refusal = refusal(&site.run(arguments));
            assert!(refusal.contains(expected), "{file}: {refusal}");
        }
        assert!(!site.path("data").exists(), "{file}");
    }
}

#[test]
fn check_and_show_take_the_flags_of_serve() {
    let site = Site::with("listen = \"127.0.0.1:0\"\npolicy = \"absent.toml\"\n");
    assert!(refused_by_both(&site).contains("absent.toml"));
    let policy = site.path("policy.toml");
    fs::write(&policy, "[[retention]]\ndays = 90\n").unwrap();
    let flags = ["--policy", policy.to_str().unwrap(), "--max-body=2GiB"];
    let checked = site.run(&[&["config", "check"][..], &flags].concat());
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    fs::write(&policy, "[[retention]]\ndays = 0\n").unwrap();
    let refused = refusal(&site.run(&[&["config", "check"][..], &flags].concat()));
    assert!(refused.contains("policy.toml:2"), "{refused}");
    let refused = refusal(&site.run(&["config", "check", "--polcy", "x"]));
    assert!(refused.contains("--policy"), "{refused}");
    let shown = site.run(&[&["config", "show"][..], &flags].concat());
    let shown = text(&shown.stdout);
    let is_shown = |start: &str, end: &str| {
        let line = shown.lines().find(|line| line.starts_with(start));
        line.is_some_and(|line| line.ends_with(end))
    };
    assert!(is_shown("policy = ", "# command line"), "{shown}");
    assert!(is_shown("max-body = ", "# command line"), "{shown}");
    assert!(is_shown("listen = ", "config.toml:1"), "{shown}");
}

#[test]
fn check_refuses_places_that_serve_cannot_use() {
    let site = Site::with("");
    let file = site.path("a_file");
    fs::write(&file, "").unwrap();
    let (file, absent) = (file.display(), site.path("absent"));
    let absent = absent.display();
    for (line, expected) in [
        (format!("store = \"{file}\""), "--store"),
        (format!("store = \"{file}/data\""), "--store"),
        (format!("ledger = \"sqlite:{absent}/ledger\""), "--ledger"),
        (
            format!("ledger = \"sqlite:{}\"", site.root.path().display()),
            "--ledger",
        ),
        (
            format!("admin = \"127.0.0.1:0\"\nadmin-token-file = \"{absent}/token\""),
            "--admin-token-file",
        ),
        (
            format!("admin = \"127.0.0.1:0\"\nadmin-token-file = \"{file}\""),
            "--admin-token-file",
        ),
        (format!("audit-file = \"{absent}/audit\""), "--audit-file"),
        (
            format!("audit-file = \"{}\"", site.root.path().display()),
            "--audit-file",
        ),
        (format!("admin = \"unix:{absent}/admin\""), "--admin"),
        (format!("admin = \"unix:{file}\""), "--admin"),
        ("store = \"az://bucket\"\nledger = \"none\"".to_owned(), "--store"),
    ] {
        fs::write(&site.file, format!("listen = \"127.0.0.1:0\"\n{line}\n")).unwrap();
        let refusal = refused_by_both(&site);
        assert!(refusal.contains(expected), "{line}: {refusal}");
    }
    // Nothing was created by the check.
    fs::write(
        &site.file,
        "store = \"new/data\"\nadmin = \"127.0.0.1:0\"\nadmin-token-file = \"token\"\n",
    )
    .unwrap();
    let checked = site.run(&["config", "check"]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    assert!(!site.path("new").exists() && !site.path("token").exists());
}

#[test]
fn files_may_be_in_the_new_directory_of_the_store() {
    let site = Site::with("");
    let data = site.path("new/data");
    for (directory, store) in [("new/data", data.to_str().unwrap()), ("other", "./other/data")] {
        let lines = [
            format!("store = \"{store}\"\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\""),
            format!("admin-token-file = \"{directory}/token\"\naudit-file = \"{directory}/audit\""),
        ];
        fs::write(&site.file, lines.join("\n")).unwrap();
        let checked = site.run(&["config", "check"]);
        assert!(checked.status.success(), "{}", text(&checked.stderr));
        assert!(!site.path(directory).exists());
        Server::spawn(&mut site.command(&["serve"])).stop();
        for name in ["token", "audit"] {
            assert!(site.path(directory).join(name).exists(), "{directory}/{name}");
        }
    }
}

#[test]
fn check_refuses_a_directory_that_cannot_be_written() {
    let site = Site::with("store = \"data\"\nledger = \"none\"\n");
    fs::create_dir(site.path("data")).unwrap();
    fs::set_permissions(site.path("data"), fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(site.path("data/probe"), "").is_ok() {
        // This user, such as root, may write everywhere.
        return;
    }
    assert!(refused_by_both(&site).contains("cannot be written"));
}

#[test]
fn warns_of_secrets_that_anyone_can_read() {
    let site = Site::with("");
    fs::set_permissions(site.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let write = |name: &str, content: &str, mode: u32| {
        fs::write(site.path(name), content).unwrap();
        fs::set_permissions(site.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    write("access", r#"{"networks": ["10.0.0.0/8"]}"#, 0o644);
    write("deliveries", r#"{"webhooks": []}"#, 0o646);
    write("ledger", "sqlite:ledger.sqlite", 0o604);
    let settings = r#"{"url": "http://storage:8080/voicemail/", "verb": "put"}"#;
    write("settings", settings, 0o644);
    write(
        "config.toml",
        "access = \"access\"\ndeliveries = \"deliveries\"\nsettings = \"settings\"\nledger-file = \"ledger\"\nlisten = \"127.0.0.1:0\"\n",
        0o600,
    );
    let warnings = || {
        let checked = site.run(&["config", "check"]);
        let stderr = text(&checked.stderr);
        assert!(checked.status.success(), "{stderr}");
        stderr
    };
    let found = warnings();
    assert_eq!(found.lines().count(), 4, "{found}");
    for (flag, name) in [
        ("--access", "access"),
        ("--deliveries", "deliveries"),
        ("--settings", "settings"),
        ("`ledger-file`", "ledger"),
    ] {
        let start = format!("warning: {flag} {name}: it has secrets");
        let remedy = format!("run `chmod o= {name}`");
        let warned = |line: &str| line.starts_with(&start) && line.ends_with(&remedy);
        assert!(found.lines().any(warned), "{name}: {found}");
    }
    let mut command = site.command(&["serve"]);
    let mut server = Server::spawn(&mut command);
    server.stop();
    assert_eq!(
        server.log().matches("anyone on this machine").count(),
        4,
        "{}",
        server.log()
    );
    // The remedy helps, and so does a directory that others cannot search.
    write("access", r#"{"networks": ["10.0.0.0/8"]}"#, 0o640);
    assert_eq!(warnings().lines().count(), 3);
    fs::set_permissions(site.root.path(), fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(warnings(), "");
    // A password in the file itself.
    fs::set_permissions(site.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    write(
        "config.toml",
        "ledger = \"postgres://kazoo:hunter2@db/x?sslmode=disable\"\n",
        0o644,
    );
    let found = warnings();
    assert!(found.contains("--config ") && !found.contains("hunter2"), "{found}");
}
