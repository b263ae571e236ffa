//! The pages in `docs/` and the README, checked against the program.
//!
//! | block | check |
//! | --- | --- |
//! | `console` | runs its commands, with a directory and a server for each page; `# status N` is an expected exit status |
//! | `console,illustration` | none: it needs more than a test has, such as root or KAZOO |
//! | `json,answer` and `http,answer` | equals the answer to the last `curl` |
//! | `text,output` | equals the output of the last command |
//! | `text,log` | each line is in the server's log |
//! | `json` | parses as access rules, storage settings or deliveries |
//! | `json,file=NAME`, `toml,file=NAME` | also written to that file, for the commands that follow |
//! | `ini` | a systemd unit: `systemctl start kazoo-storage` runs its command |
//! | `nginx` | configures nginx in front of a server, which `kazoo-storage check` tests (ignored by default) |
//!
//! In a comparison, `…` matches anything. The `rust` blocks are doctests (`src/lib.rs`).
#![cfg(unix)]
// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod curl;
mod page;
mod shell;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use kazoo_storage::{AccessRules, settings::KazooSettings};
use kazoo_storage_ledger::delivery::Receivers;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    page::{Page, pages},
    shell::{Shell, program},
};

/// Text in the blocks of the README that need more than a test has.
const README_ILLUSTRATIONS: [&str; 3] = [
    "AWS_ACCESS_KEY_ID", // an object store
    "cargo test",        // this
    "$KAZOO",            // a KAZOO; the plan and the server by it are in docs/run-the-server.md
];

#[test]
fn the_pages_match_the_program() {
    let pages = pages();
    // Each page has its own directory and server.
    let ran: usize = thread::scope(|scope| {
        let running: Vec<_> = pages.iter().map(|page| scope.spawn(|| run(page))).collect();
        running.into_iter().map(|page| page.join().unwrap()).sum()
    });
    assert!(ran > 40, "only {ran} commands");
}

/// Number of commands run.
fn run(page: &Page) -> usize {
    let mut shell = Shell::new(&page.name);
    let mut ran = 0;
    for block in &page.blocks {
        let at = format!("{}:{}", page.name, block.line);
        if block.is("console") && !is_illustration(page, &block.text) && !block.has("illustration") {
            ran += shell.run(&at, &block.text);
        } else if block.has("answer") {
            shell.answered(&at, &block.text, block.is("json"));
        } else if block.has("output") {
            shell.printed(&at, &block.text);
        } else if block.has("log") {
            shell.logged(&at, &block.text);
        } else if block.is("ini") {
            shell.install(&block.text);
        } else if let Some(name) = block.file() {
            shell.write(name, &block.text);
        }
    }
    ran
}

fn is_illustration(page: &Page, text: &str) -> bool {
    page.name == "README.md" && README_ILLUSTRATIONS.iter().any(|needle| text.contains(needle))
}

#[test]
fn illustrations_are_listed() {
    let all = pages();
    let blocks = all
        .iter()
        .flat_map(|page| &page.blocks)
        .filter(|block| block.is("console"));
    let (shown, run): (Vec<_>, Vec<_>) = blocks.partition(|block| block.has("illustration"));
    assert!(shown.len() * 2 < run.len(), "{} of {}", shown.len(), run.len());
    let readme = all.iter().find(|page| page.name == "README.md").unwrap();
    for needle in README_ILLUSTRATIONS {
        assert!(readme.text.contains(needle), "the README has no `{needle}` any more");
    }
    for page in &all {
        for block in &page.blocks {
            assert!(
                !block.is("sh") && !block.is("bash"),
                "{}:{} is no console",
                page.name,
                block.line
            );
        }
    }
}

#[test]
fn json_blocks_parse() {
    let mut rules = 0;
    for page in pages() {
        for block in page
            .blocks
            .iter()
            .filter(|block| block.is("json") && !block.has("answer"))
        {
            let at = format!("{}:{}", page.name, block.line);
            let value: Value = serde_json::from_str(&block.text).unwrap_or_else(|error| panic!("{at}: {error}"));
            if value.get("networks").or_else(|| value.get("credentials")).is_some() {
                AccessRules::from_json(&block.text).unwrap_or_else(|error| panic!("{at}: {error}"));
                rules += 1;
            } else if value.get("webhooks").or_else(|| value.get("amqp")).is_some() {
                Receivers::from_json(&block.text).unwrap_or_else(|error| panic!("{at}: {error}"));
            } else if value.get("specversion").is_none() && value.get("url").or_else(|| value.get("data")).is_some() {
                KazooSettings::from_json(&block.text).unwrap_or_else(|error| panic!("{at}: {error}"));
            }
        }
    }
    assert!(rules > 5);
}

#[test]
fn links_have_targets() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut followed = 0;
    for page in pages() {
        let here = root.join(&page.name);
        for link in page.links() {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                here.clone()
            } else {
                here.parent().unwrap().join(path)
            };
            assert!(target.exists(), "{}: {link} leads nowhere", page.name);
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let there = Page::parse(String::new(), text).anchors();
                assert!(there.contains(anchor), "{}: {link}: no such heading", page.name);
            }
            followed += 1;
        }
    }
    assert!(followed > 30, "only {followed} links");
}

/// A capture that a page cites is in the repository.
#[test]
fn cited_captures_exist() {
    let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("tests/fixtures/kazoo");
    let mut named = 0;
    for page in pages() {
        for name in page.captures() {
            let found = fs::read_dir(&fixtures).unwrap().any(|entry| {
                let file = entry.unwrap().file_name().into_string().unwrap();
                file.strip_prefix(&name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            assert!(found, "{}: there is no capture {name}", page.name);
            named += 1;
        }
    }
    assert!(named > 20, "only {named} captures");
}

/// The README repeats some rows of the performance page.
#[test]
fn figures_are_the_same_everywhere() {
    let all = pages();
    let rows = |name: &str| -> BTreeMap<String, String> {
        let page = all.iter().find(|page| page.name == name).unwrap();
        let table = page.text.split("Performance\n").nth(1).unwrap();
        let table = table.split("\n## ").next().unwrap();
        let cells = table.lines().filter(|line| line.starts_with("| ")).map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            (cells[0].to_owned(), cells[2].to_owned())
        });
        cells.filter(|(what, _)| !["what", "---"].contains(&&**what)).collect()
    };
    let (short, long) = (rows("README.md"), rows("docs/performance.md"));
    assert!(short.len() >= 5 && long.len() > short.len());
    for (what, ratio) in short {
        assert!(long.get(&what).is_some_and(|whole| whole.starts_with(&ratio)), "{what}");
    }
}

/// The flags of a command, from its `--help`.
fn flags(command: &str) -> BTreeSet<String> {
    let output = program().args(command.split(' ')).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = lines
        .flat_map(str::split_whitespace)
        .filter(|word| word.starts_with("--"));
    words.map(|word| word.trim_end_matches(',').to_owned()).collect()
}

#[test]
fn flags_exist() {
    let commands = [
        "serve",
        "audit list",
        "audit verify",
        "plan",
        "scrub",
        "check",
        "health",
        "reindex",
        "copy",
        "config check",
        "config show",
        "events list",
        "events show",
        "events retry",
        "events discard",
        "events replay",
        "events receivers",
        "events receivers rm",
        "files list",
        "files stat",
        "files get",
        "files export",
        "files verify",
        "files rm",
        "files du",
        "hold add",
        "hold list",
        "hold rm",
        "erase",
        "retention plan",
        "retention resume",
        "retention requests list",
        "retention requests rm",
        "audit list",
        "audit verify",
    ];
    let known: BTreeSet<String> = commands.iter().flat_map(|command| flags(command)).collect();
    let mut named = BTreeSet::new();
    for page in pages() {
        for flag in page.flags() {
            assert!(known.contains(&flag), "{}: no command has {flag}", page.name);
            named.insert(flag);
        }
    }
    for flag in known.iter().filter(|flag| *flag != "--help") {
        assert!(named.contains(flag), "no page says what {flag} is for");
    }
}

#[test]
#[ignore = "needs nginx"]
fn nginx_configurations_pass_the_check() {
    let mut tried = 0;
    for page in pages() {
        for block in page.blocks.iter().filter(|block| block.is("nginx")) {
            let at = format!("{}:{}", page.name, block.line);
            let mut shell = Shell::new(&page.name);
            shell.run(&at, "kazoo-storage serve --max-connections-per-address 8192");
            let nginx = Nginx::start(&at, &block.text, shell.address());
            let check = format!("kazoo-storage check http://{}/some_prefix", nginx.address);
            shell.run(&at, &check);
            tried += 1;
        }
    }
    assert!(tried > 0);
}

/// The directory in which nginx may write.
const TEMPORARY: &str = "client_body_temp_path client_body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
                         uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n";

/// nginx with the configuration of a page, in front of a server.
struct Nginx {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Nginx {
    fn start(at: &str, block: &str, server: &str) -> Self {
        let directory = TempDir::new().unwrap();
        // nginx does not support port 0.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut inner = block.replace("/var/log/nginx/", "");
        if !inner.contains("http {") {
            inner = format!("events {{}}\nhttp {{\n{inner}\n}}\n");
        }
        inner = inner.replacen("http {", &format!("http {{\n{TEMPORARY}"), 1);
        for listening in ["listen 80;", "listen 8080;"] {
            inner = inner.replace(listening, &format!("listen {address};"));
        }
        for behind in ["127.0.0.1", "10.0.0.11", "10.0.0.12", "10.0.0.13"] {
            inner = inner.replace(&format!("{behind}:8080"), server);
        }
        let config = directory.path().join("nginx.conf");
        let whole = format!("daemon off; master_process off; pid nginx.pid;\n{inner}");
        fs::write(&config, whole).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory.path()).arg("-c").arg(&config);
        let child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let mut nginx = Self {
            child,
            address,
            _directory: directory,
        };
        shell::eventually(at, || {
            assert!(nginx.child.try_wait().unwrap().is_none(), "{at}: nginx has ended");
            TcpStream::connect(address).is_ok()
        });
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
