//! The dependency direction between the crate's modules, read from its sources:
//!
//! `builder → {settings, layers, serve} → {exchange, rewrite, reject, store} → {outcome, probe, grant, framing, body, metadata, encoding, digest, metrics, client_addr, progress, normalize, key, kazoo_id, blocks} → error`
//!
//! In the server: `config_command → serve → {admin, net, storage} → log → config → cli → {file_kind, flag_file, toml_file}`,
//! `{copy, reindex} → storage`, `{audit, erase, events, files, health, hold, retention} → admin_client → {log, cli}`,
//! `{admin, retention, serve} → policy_file → cli`, `{check, plan, scrub} → {log, cli}`, and `generate → cli`.
//!
//! In the ledger: `{removal, retention, verify} → recorded → protection → reindex → record → outbox → ledger → {clock, holds, policy} →
//! rows → database → measure → event → file`.
//!
//! Cargo holds the direction between the packages: `server → {client, ledger} → kazoo-storage`.

mod allowed;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use self::allowed::{LAYERS, LIBRARIES, allowed, allowed_in_ledger, allowed_in_server};

/// Maximum length of a source file, in lines.
const MAX_LINES: usize = 400;

/// The module of every file that does not belong to the library.
const OTHER_PACKAGE: &str = "";

/// The lines of `source` without comments and unit tests.
pub(crate) fn code(source: &str) -> Vec<(usize, &str)> {
    let end = source.find("#[cfg(test)]\nmod ").unwrap_or(source.len());
    source[..end]
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .collect()
}

/// The modules in `crate::name` and `crate::{name, …}`, each with its line.
fn imports(source: &str) -> Vec<(usize, String)> {
    let name = |text: &str| -> String {
        let ends = |letter: char| !letter.is_alphanumeric() && letter != '_';
        text.split(ends).next().unwrap_or_default().to_owned()
    };
    let mut found = Vec::new();
    // The depth of braces within a `crate::{…}`, or `None` outside.
    let mut depth: Option<usize> = None;
    for (number, line) in code(source) {
        let mut rest = line;
        if depth.is_none() {
            while let Some((before, after)) = rest.split_once("crate::") {
                rest = after;
                if before.ends_with(|letter: char| letter == '$' || letter.is_alphanumeric() || letter == '_') {
                    continue;
                }
                if let Some(list) = after.strip_prefix('{') {
                    depth = Some(1);
                    rest = list;
                    break;
                }
                found.push((number, name(after)));
            }
        }
        let Some(mut open) = depth else { continue };
        let mut starts = true;
        for (at, letter) in rest.char_indices() {
            match letter {
                '{' => open += 1,
                '}' => open -= 1,
                ',' => starts = open == 1,
                _ if letter.is_whitespace() => {}
                _ if starts && open == 1 => {
                    found.push((number, name(&rest[at..])));
                    starts = false;
                }
                _ => {}
            }
            if open == 0 {
                break;
            }
        }
        depth = (open > 0).then_some(open);
    }
    found
}

/// The violations in `source`, a file of `module` at `path`.
fn violations(path: &str, module: &str, source: &str) -> Vec<String> {
    let mut found = forbidden_imports(path, module, allowed(module), source);
    for (line, text) in code(source) {
        if text.contains("super::super::") {
            found.push(format!(
                "{path}:{line}: `super::super::` hides which module is imported; write `crate::`"
            ));
        }
        for (library, homes) in LIBRARIES {
            if !homes.contains(&module) && uses(text, library) {
                found.push(format!(
                    "{path}:{line}: `{module}` uses `{library}`, which is for {homes:?} only"
                ));
            }
        }
    }
    found.extend(excess(path, source));
    found
}

/// Returns the violation of a `source` that is too long.
fn excess(path: &str, source: &str) -> Option<String> {
    let lines = source.lines().count();
    (lines > MAX_LINES)
        .then(|| format!("{path}:{lines}: {lines} lines; one concept per file, and at most {MAX_LINES} lines"))
}

/// Returns the imports of `source` that are not `allowed` to its `module`.
fn forbidden_imports(path: &str, module: &str, allowed: Option<Vec<&str>>, source: &str) -> Vec<String> {
    let Some(allowed) = allowed else {
        return vec![format!(
            "{path}: `{module}` is not in the table of modules; add what it may import"
        )];
    };
    let forbidden = imports(source)
        .into_iter()
        .filter(|(_, imported)| imported != module && !allowed.contains(&&**imported));
    forbidden
        .map(|(line, imported)| {
            format!("{path}:{line}: `{module}` imports `crate::{imported}`; it may import {allowed:?}")
        })
        .collect()
}

/// Returns `true` if `text` contains a path that starts with `library`.
fn uses(text: &str, library: &str) -> bool {
    text.match_indices(library).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let inside = before.is_some_and(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '.' | ':' | '"'));
        let after = &text[at + library.len()..];
        let imported = text.trim_start().starts_with("use ") && after.starts_with([';', ' ']);
        !inside && (after.starts_with("::") || imported)
    })
}

/// Returns path and text of every Rust file in `directories`.
fn rust_files(directories: &[&str]) -> Vec<(String, String)> {
    fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in directories {
        walk(&root.join(directory), &mut files);
    }
    files.sort();
    let read = |file: PathBuf| {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        (path, fs::read_to_string(file).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// Every source file: path, module and text.
pub(crate) fn sources() -> Vec<(String, String, String)> {
    let files = rust_files(&["src", "crates/client/src", "crates/ledger/src", "crates/server/src"]);
    let named = files.into_iter().map(|(path, text)| {
        let module = match path.strip_prefix("src/") {
            Some(path) => path.split('/').next().unwrap().trim_end_matches(".rs"),
            None => OTHER_PACKAGE,
        };
        let module = module.to_owned();
        (path, module, text)
    });
    named.collect()
}

#[test]
fn modules_import_only_what_is_below_them() {
    let mut checked = 0;
    let mut broken = Vec::new();
    for (path, module, source) in sources() {
        match &*module {
            // The crate root names every module.
            "lib" => {}
            OTHER_PACKAGE => broken.extend(excess(&path, &source)),
            _ => broken.extend(violations(&path, &module, &source)),
        }
        let packages = [
            ("crates/ledger/src/", allowed_in_ledger as fn(&str) -> _),
            ("crates/server/src/", allowed_in_server),
        ];
        for (directory, allowed) in packages {
            // The roots name every module, and unit tests may use any.
            if let Some(file) = path.strip_prefix(directory)
                && !["lib.rs", "main.rs", "clock/tests.rs"].contains(&file)
            {
                let module = file.split('/').next().unwrap().trim_end_matches(".rs");
                broken.extend(forbidden_imports(&path, module, allowed(module), &source));
            }
        }
        checked += 1;
    }
    assert!(checked > 40, "only {checked} files were found");
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn limits_the_length_of_tests_examples_and_benches() {
    let directories = [
        "tests",
        "crates/client/tests",
        "crates/ledger/tests",
        "crates/server/tests",
        "examples",
        "benches",
        "fuzz",
    ];
    let files = rust_files(&directories);
    assert!(files.len() > 100, "only {} files were found", files.len());
    let broken: Vec<String> = files.iter().filter_map(|(path, text)| excess(path, text)).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_layer_has_the_same_files() {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, module, _) in sources() {
        if let Some((_, file)) = path.rsplit_once('/') {
            files.entry(module).or_default().push(file.to_owned());
        }
    }
    for layer in LAYERS {
        for file in ["mod.rs", "layer.rs", "service.rs"] {
            assert!(
                files[layer].iter().any(|found| found == file),
                "src/{layer}/{file} is missing"
            );
        }
    }
}

/// Proves that the test above detects violations.
#[test]
fn detects_violations_with_their_line() {
    let source = "\
//! [`ServeBlobs`](crate::serve::ServeBlobs) may be spoken of.
use crate::error::Error;
use crate::{
    body::{Body, poll_data},
    store::{BlobStore, PutResult}, serve::ServeBlobs,
    observe,
};
use crate::{key::BlobKey, limit_body::LimitBody};
use memchr::memmem;
use super::super::probe::Probe;

fn f() -> crate::extract_key::PathKey {
    // crate::serve is only said here.
    base64::engine::f(self.base64::<u8>(), decode_base64::g())
}

#[cfg(test)]
mod tests {
    use crate::store::MemoryStore;
}
";
    let found = violations("src/observe/x.rs", "observe", source);
    let places: Vec<&str> = found
        .iter()
        .map(|violation| violation.split(": ").next().unwrap())
        .collect();
    let at = |line: usize| format!("src/observe/x.rs:{line}");
    assert_eq!(
        places,
        [at(5), at(5), at(8), at(12), at(9), at(10), at(14)],
        "{found:#?}"
    );
    for (violation, says) in found.iter().zip([
        "store",
        "serve",
        "limit_body",
        "extract_key",
        "memchr",
        "super",
        "base64",
    ]) {
        assert!(violation.contains(says), "{violation}");
    }
    assert_eq!(imports("use crate::{a, b::{c, d}, e::f};").len(), 3);
    assert_eq!(violations("src/key.rs", "key", "use crate::error::Result;"), [""; 0]);
    assert_eq!(violations("src/new.rs", "new", "").len(), 1);
    assert_eq!(violations("src/key.rs", "key", &"\n".repeat(MAX_LINES + 1)).len(), 1);
    assert_eq!(
        violations("src/split_multipart/x.rs", "split_multipart", "use memchr::memmem;"),
        [""; 0]
    );
}
