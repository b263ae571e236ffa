//! The files of a package: completions, man pages and the configuration.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::process::program;

fn run(arguments: &[&str]) -> String {
    let output = program().args(arguments).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn generate(files: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    run(&["generate", files, directory.path().to_str().unwrap()]);
    directory
}

/// Returns the commands below `command`, as their `--help` lists them.
fn commands(command: &[&str]) -> Vec<String> {
    let help = run(&[command, &["-h"]].concat());
    let list = help.split_once("Commands:\n").map_or("", |(_, after)| after);
    let names = list
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next());
    let mut found = vec![
        ["kazoo-storage"]
            .iter()
            .chain(command)
            .copied()
            .collect::<Vec<_>>()
            .join("-"),
    ];
    for name in names.filter(|name| *name != "help") {
        found.extend(commands(&[command, &[name]].concat()));
    }
    found
}

/// Returns the values of a configuration, by flag, without their sources.
fn values(config: &Path) -> BTreeMap<String, String> {
    let shown = run(&["--config", config.to_str().unwrap(), "config", "show"]);
    let lines = shown
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once("  # ")?.0.split_once(" = "));
    lines
        .map(|(flag, value)| (flag.to_owned(), value.trim().trim_matches('"').to_owned()))
        .collect()
}

#[test]
fn every_command_has_a_man_page() {
    let directory = generate("man");
    let commands = commands(&[]);
    assert!(commands.len() > 12, "{commands:?}");
    for command in &commands {
        let page = fs::read_to_string(directory.path().join(format!("{command}.1")));
        assert!(page.is_ok_and(|page| page.contains(".SH NAME")), "{command}");
    }
    assert!(!directory.path().join("kazoo-storage-generate.1").exists());
    let pages = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(pages, commands.len() + 1, "a page of no command");
}

#[test]
fn the_page_of_the_configuration_names_every_flag_of_serve() {
    let directory = generate("man");
    let page = fs::read_to_string(directory.path().join("kazoo-storage.toml.5")).unwrap();
    let page = page.replace('\\', "");
    let help = run(&["serve", "-h"]);
    let flags = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--")?.split(' ').next());
    let mut checked = 0;
    for flag in flags.filter(|flag| *flag != "config") {
        assert!(page.contains(&format!("fB{flag}fR = ")), "{flag}");
        checked += 1;
    }
    assert!(checked > 25, "only {checked} flags were found");
}

#[test]
fn completions_know_the_commands_and_the_flags() {
    let directory = generate("completions");
    for (file, flag) in [
        ("kazoo-storage.bash", "--max-requests-per-address"),
        ("_kazoo-storage", "--max-requests-per-address"),
        ("kazoo-storage.fish", "-l max-requests-per-address"),
    ] {
        let text = fs::read_to_string(directory.path().join(file)).unwrap();
        assert!(text.contains(flag) && text.contains("reindex"), "{file}");
    }
}

#[test]
fn the_packaged_configuration_shows_flags_with_their_defaults() {
    let text = fs::read_to_string(packaging("config.toml")).unwrap();
    let directory = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let defaults = values(&write("empty.toml", ""));
    let examples = write(
        "examples.toml",
        &text
            .replace("\n#", "\n")
            .lines()
            .filter(|line| is_key(line))
            .fold(String::new(), |all, line| all + line + "\n"),
    );
    let examples = values(&examples);
    assert!(
        examples.len() > defaults.len(),
        "the examples set no flag without a default"
    );
    let mut checked = 0;
    for line in text
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| is_key(line))
    {
        let flag = line.split_once(" = ").unwrap().0;
        if let Some(default) = defaults.get(flag) {
            assert_eq!(&examples[flag], default, "{flag}");
            checked += 1;
        }
    }
    assert!(checked > 3, "only {checked} defaults were compared");
    // Nothing listens for other machines, and nothing is a secret.
    assert_eq!(active(&text), ["store = \"/var/lib/kazoo-storage\""]);
}

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(name)
}

/// Returns the lines of `text` that are neither empty nor comments.
fn active(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect()
}

#[test]
fn the_page_about_containers_shows_the_configuration_of_the_image() {
    let config = fs::read_to_string(packaging("container.toml")).unwrap();
    let page = fs::read_to_string(packaging("../docs/containers.md")).unwrap();
    let shown = format!("```toml\n{}\n```\n", active(&config).join("\n"));
    assert!(page.contains(&shown), "{shown}");
    // The image stores where its volume is, and listens on the port that it exposes.
    let image = fs::read_to_string(packaging("Containerfile")).unwrap();
    let values = values(&packaging("container.toml"));
    assert!(image.contains(&format!("VOLUME {}\n", values["store"])), "{values:?}");
    let port = values["listen"].rsplit_once(':').unwrap().1;
    assert!(image.contains(&format!("EXPOSE {port}\n")), "{values:?}");
}

#[test]
fn the_server_accepts_the_environment_of_the_compose_file() {
    let compose = fs::read_to_string(packaging("compose.yaml")).unwrap();
    assert!(
        compose.contains(concat!("image: kazoo-storage:", env!("CARGO_PKG_VERSION"), "\n")),
        "another version"
    );
    let directory = TempDir::new().unwrap();
    let access = directory.path().join("access.json");
    fs::write(&access, r#"{"credentials": [{"token": "TOKEN"}]}"#).unwrap();
    let mut command = program();
    command.arg("--config").arg(packaging("container.toml"));
    command.args(["config", "check"]).env("KAZOO_STORAGE_ACCESS", &access);
    let help = run(&["serve", "--help"]);
    let mut flags = 0;
    for line in active(&compose) {
        let Some((name, value)) = line.trim().split_once(": ") else {
            continue;
        };
        if name.starts_with("KAZOO_STORAGE_") {
            assert!(
                help.contains(&format!("[env: {name}=")),
                "no flag has the variable {name}"
            );
            command.env(name, value.replace("${POSTGRES_PASSWORD:?}", "secret"));
            flags += 1;
        }
    }
    assert_eq!(flags, 4, "the variables of the file");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns `true` if `line` sets a key, and is not a sentence.
fn is_key(line: &str) -> bool {
    line.split_once(" = ")
        .is_some_and(|(key, _)| !key.contains([' ', '#', '`']))
}
