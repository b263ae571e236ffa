//! The Markdown files: the paths and tests that they name exist.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The directories whose paths are checked.
const ROOTS: [&str; 9] = [
    "src/",
    "tests/",
    "crates/",
    "docs/",
    "fuzz/",
    "benches/",
    "examples/",
    "packaging/",
    ".ci/",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files beneath `directory` whose name ends with `suffix`, without build products.
fn files(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !["target", ".git", "node_modules"].contains(&name) {
                found.extend(files(&path, suffix));
            }
        } else if name.ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The text in backticks on `line`.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Returns the path that `text` starts with, if it is in one of [`ROOTS`]. Placeholders such as `src/<layer>/` are not paths.
fn path(text: &str) -> Option<&str> {
    let path = text.split([' ', '#']).next()?;
    let checked = ROOTS.iter().any(|root| path.starts_with(root)) && !path.contains(['<', '*', '{']);
    checked.then_some(path)
}

/// The tests that `line` names: `FILE`: `test`, `test`. Each with its file or directory.
fn named_tests(line: &str) -> Vec<(&str, &str)> {
    let mut named = Vec::new();
    let mut file = None;
    let parts: Vec<&str> = line.split('`').collect();
    for pair in parts.windows(2).skip(1).step_by(2) {
        let (text, after) = (pair[0], pair[1]);
        if path(text).is_some() {
            file = (after == ": ").then_some(text);
        } else if let Some(found) = file {
            named.push((found, text));
            file = (after == ", ").then_some(found);
        }
    }
    named
}

#[test]
fn paths_in_documents_exist() {
    let mut checked = 0;
    let mut missing = Vec::new();
    for document in files(root(), ".md") {
        let text = fs::read_to_string(&document).unwrap();
        let mut in_block = false;
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                in_block = !in_block;
            }
            if in_block {
                continue;
            }
            for path in quoted(line).filter_map(path) {
                checked += 1;
                if !root().join(path).exists() {
                    missing.push(format!("{}:{}: {path}", document.display(), index + 1));
                }
            }
        }
    }
    assert!(checked > 100, "only {checked} paths were found");
    assert!(missing.is_empty(), "these paths do not exist:\n{}", missing.join("\n"));
}

#[test]
fn tests_named_in_security_md_exist() {
    let security = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let named: Vec<_> = security.lines().flat_map(named_tests).collect();
    assert!(named.len() > 8, "only {} tests were found", named.len());
    for (place, test) in named {
        let place = root().join(place);
        let sources = if place.is_dir() {
            files(&place, ".rs")
        } else {
            vec![place.clone()]
        };
        let definition = format!("fn {test}(");
        let exists = sources
            .iter()
            .any(|source| fs::read_to_string(source).unwrap().contains(&definition));
        assert!(exists, "{} has no test `{test}`", place.display());
    }
}

/// Proves that the tests above see what a document names.
#[test]
fn detects_paths_and_tests() {
    let line = "| a `b` | `tests/a.rs`: `c`, `d`, `src/e.rs`, `tests/f`: `g`; `cargo x`, `fuzz/run.py --seconds 5` |";
    assert_eq!(
        quoted(line).filter_map(path).collect::<Vec<_>>(),
        ["tests/a.rs", "src/e.rs", "tests/f", "fuzz/run.py"]
    );
    assert_eq!(
        named_tests(line),
        [("tests/a.rs", "c"), ("tests/a.rs", "d"), ("tests/f", "g")]
    );
    assert_eq!(path("src/<layer>/"), None);
}
