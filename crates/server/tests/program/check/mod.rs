//! Runs `kazoo-storage check` against working servers, and against servers that are broken on purpose.

mod causes;
mod clean;
mod front;
mod green;
mod load;
mod reach;

use std::{path::Path, process::Stdio};

use serde_json::Value;
use tokio::process::Command;

use crate::process;

/// A secret in every checked URL, which no report may contain.
const SECRET: &str = "s3cret";

fn program() -> Command {
    let mut command = Command::from(process::program());
    command.stdin(Stdio::null());
    command
}

/// The report of a check.
#[derive(Debug)]
struct Report {
    exit: i32,
    json: Value,
}

/// Runs a check with these options, including the URL.
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
    /// Returns the causes of all findings, except the warning about the host, which is this machine's.
    fn causes(&self) -> Vec<&str> {
        let findings = self.json["findings"].as_array().unwrap();
        let of_host = |finding: &&Value| {
            let text = finding["detail"].as_str().unwrap_or_default();
            !text.contains("refuses the host")
        };
        let causes = findings.iter().filter(of_host);
        causes.map(|finding| finding["cause"].as_str().unwrap()).collect()
    }

    /// Returns the finding with this cause.
    fn finding(&self, cause: &str) -> &Value {
        let mut findings = self.json["findings"].as_array().unwrap().iter();
        let finding = findings.find(|finding| finding["cause"] == cause);
        finding.unwrap_or_else(|| panic!("no {cause}: {:#}", self.json))
    }
}

/// Returns `path` as text.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
