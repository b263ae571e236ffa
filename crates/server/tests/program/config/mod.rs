//! The configuration file, and the command `config`.

mod check;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
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
    fs::set_permissions(site.path("access"), fs::Permissions::from_mode(0o400)).unwrap();
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

#[test]
fn a_tip_names_the_source_of_the_value() {
    let site = Site::with("max-body = \"1MiB\"\ntls-cert = \"/cert\"\n");
    let tip = |arguments: &[&str], variable: Option<&str>| {
        let mut command = site.command(&["serve", "--tls-key=/key"]);
        command.args(arguments);
        if let Some(value) = variable {
            command.env("KAZOO_STORAGE_MAX_BODY", value);
        }
        refusal(&command.output().unwrap())
    };
    for from_flag in [
        tip(&["--max-body", "many"], None),
        tip(&["--max-body=many"], None),
        tip(&["--max-body=many"], Some("none")),
    ] {
        assert!(
            from_flag.contains("'many' for '--max-body") && !from_flag.contains("is set in"),
            "{from_flag}"
        );
    }
    let from_variable = tip(&[], Some("many"));
    assert!(
        from_variable.contains("--max-body is set in KAZOO_STORAGE_MAX_BODY"),
        "{from_variable}"
    );
    assert!(!from_variable.contains("config.toml"), "{from_variable}");
    fs::write(&site.file, "\nmax-body = \"many\"\n").unwrap();
    let from_file = tip(&[], None);
    assert!(
        from_file.contains(&format!("--max-body is set in {}:2", site.file.display())),
        "{from_file}"
    );
    // The conflict is with a flag of the file.
    fs::write(&site.file, "settings = \"storage.json\"\n").unwrap();
    let conflict = refusal(&site.run(&["serve", "--key=path"]));
    assert!(conflict.contains("--settings already defines"), "{conflict}");
}

#[test]
fn show_prints_every_flag_in_the_order_of_the_help() {
    let site = Site::with("presign = \"60s\"\nstore = \"s3://bucket\"\n");
    let shown = text(&site.run(&["config", "show"]).stdout);
    let flag = |line: &str| line.trim_start_matches("# ").split(" = ").next().unwrap().to_owned();
    let flags: Vec<String> = shown.lines().map(flag).collect();
    let help = text(&site.run(&["serve", "--help"]).stdout);
    let named = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let named = named.map(|line| line.split([' ', '=']).next().unwrap().to_owned());
    let expected: Vec<String> = named.filter(|flag| flag != "config" && flag != "help").collect();
    assert_eq!(flags, expected);
    for line in [
        "# settings = \"FILE\"",
        "# admin-host = [\"NAME\"]",
        "presign = \"60s\"",
    ] {
        assert!(shown.lines().any(|shown| shown.starts_with(line)), "{line}: {shown}");
    }
    assert!(
        shown
            .lines()
            .all(|line| line.starts_with("# ") == line.ends_with("# not set")),
        "{shown}"
    );
}
