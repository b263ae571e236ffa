//! Sets `LONG_VERSION`, which `kazoo-storage --version` prints: the version, and the commit if it is known.
//!
//! The commit is the value of `KAZOO_STORAGE_COMMIT`, that of the package on crates.io, or that of the repository. Only release builds read the
//! repository: otherwise each commit would compile the server again.

use std::{env, fs, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-env-changed=KAZOO_STORAGE_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let given = env::var("KAZOO_STORAGE_COMMIT").ok();
    let mut version = env!("CARGO_PKG_VERSION").to_owned();
    if let Some(commit) = given.or_else(packaged).or_else(checked_out) {
        version = format!("{version} (commit {:.12})", commit.trim());
    }
    println!("cargo::rustc-env=LONG_VERSION={version}");
}

/// Returns the commit that `cargo package` has recorded.
fn packaged() -> Option<String> {
    let text = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, after) = text.split_once("\"sha1\": \"")?;
    after.split('"').next().map(str::to_owned)
}

/// Returns the commit of the repository that contains this package.
fn checked_out() -> Option<String> {
    // Another repository may contain the sources, for example as a vendored package.
    let git = Path::new("../../.git");
    if env::var("PROFILE").is_ok_and(|profile| profile != "release") || !git.exists() {
        return None;
    }
    let log = git.join("logs/HEAD");
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    let output = Command::new("git").args(["rev-parse", "HEAD"]).output().ok()?;
    let commit = output.status.success().then_some(output.stdout)?;
    String::from_utf8(commit).ok()
}
