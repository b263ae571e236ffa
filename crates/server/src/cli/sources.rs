//! Merges the flags with the configuration file: a flag wins over its environment variable, and that over the file.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{ArgAction, ArgMatches, Command};
use url::Url;

use super::file::{ConfigFile, Entry};

/// The file that is read without `--config`, if it exists.
const DEFAULT: &str = "/etc/kazoo-storage/config.toml";

/// The value of `--config` that reads no file.
const NO_FILE: &str = "none";

/// The command that has every flag that the file may set.
const SERVE: &str = "serve";

/// The commands that use the file: those of the server, its store or its admin endpoint.
const USERS: [&str; 11] = [
    SERVE,
    "reindex",
    "scrub",
    "events",
    "files",
    "hold",
    "erase",
    "retention",
    "audit",
    "health",
    "config",
];

/// The arguments of a command, and the file that some of them come from.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(super) arguments: Vec<OsString>,
    file: Option<ConfigFile>,
    /// The sources of the flags that are not in the arguments of the process.
    origins: BTreeMap<String, Origin>,
}

/// The source of a value.
#[derive(Debug)]
pub(super) struct Origin {
    /// The place in the file, such as `config.toml:7`, or the environment variable.
    pub(super) name: String,
    /// The value is in a file of its own, so it is a secret.
    pub(super) is_secret: bool,
}

impl Sources {
    /// Adds the flags that the file sets, and that `arguments` and the environment do not.
    pub(super) fn merge(grammar: &Command, mut arguments: Vec<OsString>) -> Result<Self, String> {
        let mut origins = BTreeMap::new();
        // Finds the command even if some of its flags are wrong: the next pass reports that. `--help` and `--version` end
        // it, and need no file.
        let given = grammar
            .clone()
            .ignore_errors(true)
            .try_get_matches_from(&arguments)
            .ok();
        let used = given.as_ref().and_then(ArgMatches::subcommand);
        let found = used.and_then(|(name, _)| Some((grammar.find_subcommand(name)?, position(&arguments, name)?)));
        let Some((command, at)) = found else {
            return Ok(Self {
                arguments,
                file: None,
                origins,
            });
        };
        for arg in command.get_arguments() {
            if let (Some(flag), Some(variable)) = (arg.get_long(), arg.get_env())
                && !is_given(&arguments, at, flag)
                && env::var_os(variable).is_some()
            {
                let name = variable.to_string_lossy().into_owned();
                origins.insert(flag.to_owned(), Origin { name, is_secret: false });
            }
        }
        let path = given
            .as_ref()
            .and_then(path)
            .filter(|_| USERS.contains(&command.get_name()));
        let Some(path) = path else {
            return Ok(Self {
                arguments,
                file: None,
                origins,
            });
        };
        let file = ConfigFile::read(&path, &flags(grammar))?;
        let mut added = Vec::new();
        for entry in &file.entries {
            if is_given(&arguments, at, &entry.flag) || origins.contains_key(&entry.flag) {
                continue;
            }
            let name = file.place(entry);
            added.extend(additions(command, entry).map_err(|problem| format!("{name}: {problem}"))?);
            let is_secret = entry.file.is_some();
            origins.insert(entry.flag.clone(), Origin { name, is_secret });
        }
        arguments.splice(at..at, added);
        Ok(Self {
            arguments,
            file: Some(file),
            origins,
        })
    }

    /// Returns the source of `flag`, unless it is in the arguments of the process or has its default.
    pub(super) fn origin(&self, flag: &str) -> Option<&Origin> {
        self.origins.get(flag)
    }

    /// Returns the files with secrets from which the file's flags come, each with the key that names it.
    pub(super) fn secret_files(&self) -> Vec<(String, PathBuf)> {
        let Some(file) = &self.file else { return Vec::new() };
        let is_used = |entry: &Entry| {
            let origin = self.origins.get(&entry.flag);
            origin.is_some_and(|origin| origin.name == file.place(entry))
        };
        file.secret_files(is_used)
    }

    /// Returns the file, if there is one.
    pub(crate) fn file(&self) -> Option<&ConfigFile> {
        self.file.as_ref()
    }
}

/// Returns `true` if `flag` is among the arguments from `at` on. Its value may be wrong.
fn is_given(arguments: &[OsString], at: usize, flag: &str) -> bool {
    let given = arguments.iter().skip(at).map(|argument| argument.as_encoded_bytes());
    given
        .filter_map(|argument| argument.strip_prefix(b"--")?.strip_prefix(flag.as_bytes()))
        .any(|rest| rest.is_empty() || rest.first() == Some(&b'='))
}

/// Returns the flags that the file may set.
fn flags(grammar: &Command) -> Vec<String> {
    let serve = grammar.find_subcommand(SERVE).into_iter();
    let flags = serve.flat_map(Command::get_arguments).filter_map(clap::Arg::get_long);
    flags.filter(|flag| *flag != "help").map(str::to_owned).collect()
}

/// Returns the path of the file.
fn path(given: &ArgMatches) -> Option<PathBuf> {
    match given.get_one::<PathBuf>("config") {
        Some(path) if path == Path::new(NO_FILE) => None,
        Some(path) => Some(path.clone()),
        // An error other than its absence is reported by reading it.
        None => Some(PathBuf::from(DEFAULT)).filter(|path| !matches!(path.try_exists(), Ok(false))),
    }
}

/// Returns the position behind the name of the command, before which there are only `--config` and its value.
fn position(arguments: &[OsString], name: &str) -> Option<usize> {
    let mut after = arguments.iter().enumerate().skip(1);
    while let Some((at, argument)) = after.next() {
        if argument == name {
            return Some(at + 1);
        }
        if argument == "--config" {
            after.next();
        }
    }
    None
}

/// Returns the arguments for `entry`: none if `command` has no such flag.
fn additions(command: &Command, entry: &Entry) -> Result<Vec<OsString>, String> {
    let flag = &entry.flag;
    let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(flag)) else {
        return Ok(Vec::new());
    };
    let values: Vec<&str> = entry.values.iter().map(String::as_str).collect();
    match (arg.get_action(), &values[..]) {
        (ArgAction::SetTrue, ["true"]) => Ok(vec![format!("--{flag}").into()]),
        (ArgAction::SetTrue, ["false"]) => Ok(Vec::new()),
        (ArgAction::SetTrue, _) => Err(format!("`{flag}` must be `true` or `false`")),
        (ArgAction::Append, values) => Ok(vec![format!("--{flag}={}", values.join(",")).into()]),
        (_, [value]) => Ok(vec![format!("--{flag}={value}").into()]),
        _ => Err(format!("`{flag}` has one value, and no list")),
    }
}

/// Returns the arguments of `serve` with these flags, for the file of `--config`.
pub(super) fn of_serve(config: Option<&Path>, flags: Vec<OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = env::args_os().take(1).collect();
    if let Some(config) = config {
        arguments.push("--config".into());
        arguments.push(config.into());
    }
    arguments.push(SERVE.into());
    arguments.extend(flags);
    arguments
}

/// Returns `true` if `text` is a URL with a password, or could be a damaged one.
pub(super) fn has_password(text: &str) -> bool {
    masked(text.to_owned()) != text && !text.starts_with("sqlite:")
}

/// Hides the password of a URL, its query and its fragment, and a text that could be a damaged URL.
pub(super) fn masked(text: String) -> String {
    const HIDDEN: &str = "***";
    let Some(mut url) = Url::parse(&text).ok().filter(Url::has_host) else {
        let is_plain = !text.contains(['@', '=', '#']) && !text.contains("//");
        return if is_plain { text } else { HIDDEN.to_owned() };
    };
    if url.password().is_some() && url.set_password(Some(HIDDEN)).is_err() {
        return HIDDEN.to_owned();
    }
    if url.query().is_some() {
        url.set_query(Some(HIDDEN));
    }
    url.set_fragment(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_passwords() {
        for (text, shown) in [
            ("postgres://kazoo:hunter2@db:5432/x", "postgres://kazoo:***@db:5432/x"),
            ("postgres://db/x?password=hunter2", "postgres://db/x?***"),
            ("postgres://kazoo:hunter2@db/x#hunter3", "postgres://kazoo:***@db/x"),
            ("postgres://kazoo:hunter2@db:999999/x", "***"),
            ("kazoo:hunter2@db/x", "***"),
            ("host=db password=hunter2", "***"),
            ("sqlite:/var/lib/x?y", "sqlite:/var/lib/x?y"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("./data", "./data"),
        ] {
            assert_eq!(masked(text.to_owned()), shown, "{text}");
        }
    }
}
