//! The files of a package: completions, man pages and the configuration.

use std::{collections::BTreeMap, fs, path::Path};

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
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/config.toml");
    let text = fs::read_to_string(&packaged).unwrap();
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
    let active: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    assert_eq!(active, ["store = \"/var/lib/kazoo-storage\""]);
}

/// Returns `true` if `line` sets a key, and is not a sentence.
fn is_key(line: &str) -> bool {
    line.split_once(" = ")
        .is_some_and(|(key, _)| !key.contains([' ', '#', '`']))
}
