//! `kazoo-storage check`, run as its users run it: in front of what works, and of everything that is broken on purpose.

mod causes;
mod clean;
mod front;
mod green;
mod load;
mod reach;

use std::{path::Path, process::Stdio};

use serde_json::Value;
use tokio::process::Command;

/// In every URL that is checked, and in no report.
const SECRET: &str = "s3cret";

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kazoo-storage"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KAZOO_STORAGE_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// What a check has said.
#[derive(Debug)]
struct Report {
    exit: i32,
    json: Value,
}

/// Checks with these options, the URL among them, twice: for machines and, if it says anything about them, for people.
async fn check(options: &[&str]) -> Report {
    let mut command = program();
    command.args(["check", "--json", "--large", "96KiB"]).args(options);
    let output = command.output().await.unwrap();
    let text = [&*output.stdout, &*output.stderr].map(String::from_utf8_lossy).concat();
    assert!(!text.contains(SECRET), "{text}");
    let json = serde_json::from_slice(&output.stdout);
    let json = json.unwrap_or_else(|error| panic!("{error}: {text}"));
    let exit = output.status.code().unwrap();
    let report = Report { exit, json };
    assert_eq!(report.json["exit"], exit);
    report
}

impl Report {
    /// The causes of what does not work and of what is warned of, but for the host, which is this machine's.
    fn causes(&self) -> Vec<&str> {
        let findings = self.json["findings"].as_array().unwrap();
        let of_host = |finding: &&Value| {
            let text = finding["text"].as_str().unwrap_or_default();
            !text.contains("refuses the host")
        };
        let causes = findings.iter().filter(of_host);
        causes.map(|finding| finding["cause"].as_str().unwrap()).collect()
    }

    /// The finding with that cause.
    fn finding(&self, cause: &str) -> &Value {
        let mut findings = self.json["findings"].as_array().unwrap().iter();
        let finding = findings.find(|finding| finding["cause"] == cause);
        finding.unwrap_or_else(|| panic!("no {cause}: {:#}", self.json))
    }
}

/// The text of `path`, for a command line.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
