//! The configuration file, and the command `config`.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::process::{FILE, Server, program};

struct Site {
    root: TempDir,
    file: PathBuf,
}

impl Site {
    /// Writes a configuration file.
    fn with(text: &str) -> Self {
        let root = TempDir::new().unwrap();
        let file = root.path().join("config.toml");
        fs::write(&file, text).unwrap();
        Self { root, file }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .current_dir(self.root.path())
            .arg("--config")
            .arg(&self.file)
            .args(arguments);
        command
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Returns what the program prints on stderr, which has ended with the status 2.
fn refusal(output: &Output) -> String {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    stderr
}

#[test]
fn the_file_sets_flags_of_serve() {
    let site = Site::with("mount = \"/from_file\"\nno-fsync = true\nmax-body = \"10B\"\n");
    let server = Server::start(&site.path("data"), &["--config", site.file.to_str().unwrap()]);
    let target = FILE.replacen("/some_prefix", "/from_file", 1);
    assert_eq!(server.connect().put(&target, b"0123456789").status, 201);
    assert_eq!(server.connect().put(&target, b"0123456789a").status, 413);
    assert_eq!(server.connect().put(FILE, b"x").status, 404);
}

#[test]
fn a_flag_wins_over_its_variable_and_that_over_the_file() {
    let site =
        Site::with("mount = \"/file\"\nmax-requests = 7\nadmin = \"127.0.0.1:1\"\nadmin-host = [\"a\", \"b\"]\n");
    let output = site
        .command(&["config", "show"])
        .env("KAZOO_STORAGE_MOUNT", "/variable")
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    let source = |start: &str| {
        let line = shown
            .lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("{start}: {shown}"));
        line.split_once("  # ").unwrap().1.to_owned()
    };
    assert_eq!(source("mount = \"/variable\""), "KAZOO_STORAGE_MOUNT");
    assert_eq!(source("max-requests = \"7\""), format!("{}:2", site.file.display()));
    assert_eq!(
        source("admin-host = [\"a\", \"b\"]"),
        format!("{}:4", site.file.display())
    );
    assert_eq!(source("max-metadata = \"1MiB\""), "default");

    let flags = ["--mount", "/flag", "--config", site.file.to_str().unwrap()];
    let server = Server::start(&site.path("data"), &flags);
    assert_eq!(
        server
            .connect()
            .put(&FILE.replacen("/some_prefix", "/flag", 1), b"x")
            .status,
        201
    );
}

#[test]
fn the_output_of_show_is_a_configuration_file() {
    let site = Site::with("mount = \"/a\"\nallow-anyone = true\nlisten = \"127.0.0.1:0\"\n");
    let shown = site.run(&["config", "show"]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    fs::write(&site.file, &shown.stdout).unwrap();
    let again = site.run(&["config", "show"]);
    let values = |output: &Output| -> Vec<String> {
        let lines = text(&output.stdout);
        lines
            .lines()
            .map(|line| line.split("  # ").next().unwrap().trim().to_owned())
            .collect()
    };
    assert_eq!(values(&again), values(&shown), "{}", text(&again.stderr));
}

#[test]
fn show_masks_secrets() {
    let site = Site::with("ledger = \"postgres://kazoo:hunter2@db/x?sslmode=disable\"\n");
    let shown = text(&site.run(&["config", "show"]).stdout);
    assert!(
        shown.contains("postgres://kazoo:***@db/x") && !shown.contains("hunter2"),
        "{shown}"
    );

    let secret = site.path("secret");
    fs::write(&secret, "postgres://kazoo:hunter2@db/x?sslmode=disable\n").unwrap();
    fs::write(&site.file, format!("ledger-file = \"{}\"\n", secret.display())).unwrap();
    let shown = text(&site.run(&["config", "show"]).stdout);
    assert!(
        shown.contains("ledger = \"***\"") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn a_credential_of_systemd_is_found() {
    let site = Site::with("access = \"$CREDENTIALS_DIRECTORY/access\"\n");
    fs::write(
        site.path("access"),
        r#"{"credentials": [{"token": "0123456789abcdef0123456789abcdef"}]}"#,
    )
    .unwrap();
    let with = site
        .command(&["config", "check"])
        .env("CREDENTIALS_DIRECTORY", site.root.path())
        .output()
        .unwrap();
    assert_eq!((text(&with.stderr), with.status.code()), (String::new(), Some(0)));
    assert_eq!(text(&with.stdout), format!("{} is valid\n", site.file.display()));
    assert!(refusal(&site.run(&["config", "check"])).contains("CREDENTIALS_DIRECTORY is not set"));
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
fn other_commands_use_the_flags_that_they_have_too() {
    let site = Site::with("store = \"the_store\"\nlisten = \"127.0.0.1:0\"\n");
    let scrubbed = site.run(&["scrub"]);
    let told = text(&scrubbed.stderr) + &text(&scrubbed.stdout);
    assert!(told.contains("the_store"), "{told}");
    // A client of any server has nothing to do with the file.
    let plan = site.run(&["plan", "--help"]);
    assert!(plan.status.success());
}

#[test]
fn an_absent_file_is_an_error() {
    let site = Site::with("");
    fs::remove_file(&site.file).unwrap();
    assert!(refusal(&site.run(&["serve"])).contains("cannot read --config"));
    let none = program()
        .args(["--config", "none", "config", "check"])
        .output()
        .unwrap();
    assert_eq!(none.status.code(), Some(0), "{}", text(&none.stderr));
}
