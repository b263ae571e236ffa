//! The imports of the journal of `FsStore`.

use crate::architecture::{code, sources};

/// The journal does not know how its changes are made or applied: it imports only errors, syncs and fault injection.
#[test]
fn the_journal_imports_no_other_module_of_the_store() {
    let journal = sources()
        .into_iter()
        .filter(|(path, ..)| path.starts_with("src/store/fs/journal/") && !path.ends_with("tests.rs"));
    for (path, _, source) in journal {
        let mut imported = String::new();
        for (line, text) in code(&source) {
            // A path to the store's modules begins at the crate or, in the root of the journal, with `super`.
            assert!(
                !path.ends_with("/mod.rs") || !text.contains("super::"),
                "{path}:{line}: {text}"
            );
            imported.push_str(text.trim());
        }
        for (_, after) in imported
            .match_indices("store::fs::")
            .map(|(at, found)| imported.split_at(at + found.len()))
        {
            let list = match after.strip_prefix('{') {
                Some(list) => list.split("};").next().unwrap(),
                None => after.split([':', ';', ')', ' ']).next().unwrap(),
            };
            let mut depth = 0;
            let top: String = list
                .chars()
                .filter(|letter| {
                    depth += i32::from(*letter == '{') - i32::from(*letter == '}');
                    depth == 0 && *letter != '}'
                })
                .collect();
            for module in top.split(',').map(|path| path.split("::").next().unwrap().trim()) {
                assert!(
                    ["", "error", "fault", "sync"].contains(&module),
                    "{path} imports `{module}`"
                );
            }
        }
    }
}
