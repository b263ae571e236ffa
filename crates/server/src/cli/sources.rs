//! Merges the flags with the configuration file: a flag wins over its environment variable, and that over the file.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{ArgAction, ArgMatches, Command, parser::ValueSource};
use url::Url;

use super::file::{ConfigFile, Entry};

/// The file that is read without `--config`, if it exists.
const DEFAULT: &str = "/etc/kazoo-storage/config.toml";

/// The value of `--config` that reads no file.
const NO_FILE: &str = "none";

/// The command that has every flag that the file may set.
const SERVE: &str = "serve";

/// The commands that use the file: those of the server, its store or its admin endpoint.
const USERS: [&str; 6] = [SERVE, "reindex", "scrub", "events", "health", "config"];

/// The arguments of a command, and the file that some of them come from.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(super) arguments: Vec<OsString>,
    file: Option<ConfigFile>,
}

impl Sources {
    /// Adds the flags that the file sets, and that `arguments` and the environment do not.
    pub(super) fn merge(grammar: &Command, mut arguments: Vec<OsString>) -> Result<Self, String> {
        // Finds the command and its flags even if some of them are wrong: the next pass reports that. `--help` and
        // `--version` end it, and need no file.
        let Ok(given) = grammar.clone().ignore_errors(true).try_get_matches_from(&arguments) else {
            return Ok(Self { arguments, file: None });
        };
        let used = given.subcommand().filter(|(name, _)| USERS.contains(name));
        let (Some((name, given)), Some(path)) = (used, path(&given)) else {
            return Ok(Self { arguments, file: None });
        };
        let file = ConfigFile::read(&path, &flags(grammar))?;
        if let Some(command) = grammar.find_subcommand(name)
            && let Some(at) = position(&arguments, name)
        {
            let mut added = Vec::new();
            for entry in &file.entries {
                let additions = additions(command, given, entry);
                added.extend(additions.map_err(|problem| format!("{}: {problem}", file.place(entry)))?);
            }
            arguments.splice(at..at, added);
        }
        Ok(Self {
            arguments,
            file: Some(file),
        })
    }

    /// Returns the place at which the file sets `flag`, such as `config.toml:7`, and whether the value is a secret.
    pub(super) fn place(&self, flag: &str) -> Option<(String, bool)> {
        let file = self.file.as_ref()?;
        let entry = file.entries.iter().find(|entry| entry.flag == flag)?;
        Some((file.place(entry), entry.is_secret))
    }

    /// Returns the file, if there is one.
    pub(crate) fn file(&self) -> Option<&ConfigFile> {
        self.file.as_ref()
    }
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

/// Returns the arguments for `entry`: none if `command` has no such flag or the operator has given it.
fn additions(command: &Command, given: &ArgMatches, entry: &Entry) -> Result<Vec<OsString>, String> {
    let flag = &entry.flag;
    let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(flag)) else {
        return Ok(Vec::new());
    };
    let source = given.value_source(arg.get_id().as_str());
    if matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
        return Ok(Vec::new());
    }
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

/// Returns the arguments of `serve` without flags, as the service starts it, for the file of `--config`.
pub(super) fn of_serve(config: Option<&Path>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = env::args_os().take(1).collect();
    if let Some(config) = config {
        arguments.push("--config".into());
        arguments.push(config.into());
    }
    arguments.push(SERVE.into());
    arguments
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
