//! The command line, and the environment variables that set its flags.

mod admin;
mod audit;
mod check;
mod conditions;
mod config;
mod copy;
mod erase;
mod events;
mod file;
mod files;
mod generate;
mod hold;
mod ledger;
mod location;
mod plan;
mod reindex;
mod retention;
mod scrub;
mod serve;
mod sources;
mod store;
mod values;

use std::{env, ffi::OsString, path::PathBuf};

use clap::{
    ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use self::sources::Sources;
pub(crate) use self::{
    admin::{AdminAddress, AdminClientOptions, AdminOptions, AdminServer, AdminServerOptions},
    audit::{AuditAction, AuditOptions, ListAuditOptions},
    check::CheckOptions,
    conditions::Conditions,
    config::{ConfigAction, ConfigOptions, Setting},
    copy::CopyOptions,
    erase::EraseOptions,
    events::{
        DeadOptions, DiscardOptions, EventsAction, EventsOptions, ListOptions, ReceiversAction, ReplayOptions,
        RetryOptions, State,
    },
    files::{
        ExportFilesOptions, FileSelection, FilesAction, FilesOptions, GetOptions, ListFilesOptions, VerifyFilesOptions,
    },
    generate::{GenerateOptions, GeneratedFiles},
    hold::{AddHoldOptions, HoldAction, HoldOptions},
    ledger::LedgerLocation,
    location::{Cloud, Location},
    plan::{PlanOptions, Verb},
    reindex::ReindexOptions,
    retention::{PlanRetentionOptions, RequestsAction, RetentionAction, RetentionOptions},
    scrub::ScrubOptions,
    serve::{Base64Mode, LogFormat, ServeOptions, TlsOptions},
    store::{BucketOptions, StoreOptions},
    values::{KeySource, Size, nonzero_size},
};

/// The grammar of values, printed after the flags of a command.
const VALUES: &str = "A SIZE is a number with a unit, such as 64MiB or 1GB; a plain number is bytes.\n\
                      A DURATION is a number with a unit, such as 30s, 2m or 1h; a plain number is seconds.";

/// HTTP storage for the attachments of the KAZOO telephony platform.
#[derive(Debug, Parser)]
#[command(name = "kazoo-storage", version, long_version = env!("LONG_VERSION"))]
pub(crate) struct Cli {
    /// TOML file that sets flags of `serve`; by default `/etc/kazoo-storage/config.toml` if it exists; `none` reads no file
    ///
    /// Its keys are the names of the flags. A flag takes precedence over its environment variable, and the variable over the file. A
    /// key with `-file` after the name of the flag names a file that contains the value. `copy`, `reindex`, `scrub`, `events`,
    /// `files`, `hold`, `erase`, `retention`, `audit` and `health` read the file too, for the flags that they share with `serve`.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Parses the command line. Ends the process if it is invalid.
    pub(crate) fn read() -> Self {
        let grammar = Self::grammar();
        let sources = Self::merged(&grammar, env::args_os().collect());
        let mut matches = Self::matches(&grammar, &sources);
        let mut cli = Self::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit());
        if let Command::Serve(options) = &mut cli.command {
            options.secret_files = sources.secret_files();
        }
        cli
    }

    /// Adds the flags of the configuration file to `arguments`. Ends the process if the file is invalid.
    fn merged(grammar: &clap::Command, arguments: Vec<OsString>) -> Sources {
        Sources::merge(grammar, arguments)
            .unwrap_or_else(|error| grammar.clone().error(ErrorKind::InvalidValue, error).exit())
    }

    /// Parses the arguments. Ends the process if they are invalid.
    fn matches(grammar: &clap::Command, sources: &Sources) -> ArgMatches {
        let matches = grammar.clone().try_get_matches_from(&sources.arguments);
        matches.unwrap_or_else(|mut error| {
            if let Some(value) = error.get(ContextKind::InvalidValue) {
                let value = sources::masked(value.to_string());
                error.insert(ContextKind::InvalidValue, ContextValue::String(value));
            }
            if let Some(tip) = tip(&error, sources) {
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            }
            error.exit()
        })
    }

    /// The subcommands and their flags. An environment variable sets each flag of `serve`: `KAZOO_STORAGE_MAX_BODY` sets `--max-body`.
    pub(crate) fn grammar() -> clap::Command {
        with_variables(Self::command())
    }
}

/// Returns advice on a wrong flag.
fn tip(error: &clap::Error, sources: &Sources) -> Option<String> {
    let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let flags = [context(ContextKind::InvalidArg), context(ContextKind::PriorArg)];
    if error.kind() == ErrorKind::ArgumentConflict && flags.iter().any(|flag| flag.contains("--settings")) {
        return Some("--settings already defines the key and the base64 mode: remove the other flag".to_owned());
    }
    let names = flags
        .iter()
        .flat_map(|flag| flag.split([' ', '=', ',']))
        .filter_map(|flag| flag.strip_prefix("--"));
    let places: Vec<String> = names
        .filter_map(|name| Some(format!("--{name} is set in {}", sources.origin(name)?.name)))
        .collect();
    (!places.is_empty()).then(|| places.join("; "))
}

/// Gives `--config` and the flags of `serve` their variables, also in the other commands that have them. Further flags, such as
/// `erase --account`, have none: they are for one call, and the environment of a server is no place for them.
fn with_variables(command: clap::Command) -> clap::Command {
    let with_variable = |arg: clap::Arg| {
        let name = arg.get_id().as_str().to_uppercase();
        arg.env(format!("KAZOO_STORAGE_{name}"))
    };
    let of_serve = flags(command.find_subcommand("serve"));
    let is_shared = |arg: &clap::Arg| {
        arg.get_long()
            .is_some_and(|flag| of_serve.iter().any(|shared| shared == flag))
    };
    let command = command.mut_args(with_variable);
    command.mut_subcommands(|command| command.mut_args(|arg| if is_shared(&arg) { with_variable(arg) } else { arg }))
}

/// Returns the names of the flags of `command`.
fn flags(command: Option<&clap::Command>) -> Vec<String> {
    let arguments = command.into_iter().flat_map(clap::Command::get_arguments);
    arguments.filter_map(clap::Arg::get_long).map(str::to_owned).collect()
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store KAZOO's uploads and serve them
    ///
    /// The first SIGTERM or Ctrl-C stops the server: it accepts no new connections, finishes the requests in progress,
    /// answers requests that arrive on open connections, and exits with status 0 when all connections are closed or the
    /// grace period ends. A second signal stops it at once, with status 128 plus the signal's number.
    ///
    /// The exit status is 2 if a flag, or a file that a flag names, is wrong, and 1 if the server cannot start for another
    /// reason.
    #[command(after_help = VALUES)]
    Serve(Box<ServeOptions>),
    /// Print a storage document for KAZOO, and report settings that KAZOO would refuse
    ///
    /// The document is printed on stdout: PUT it to `/v2/accounts/{ACCOUNT_ID}/storage`, and pass it to `serve --settings`.
    /// Instructions are printed on stderr.
    ///
    /// With `--webhook`, the document is a webhook instead, which reports deleted documents to the server: PUT it to
    /// `/v2/accounts/{ACCOUNT_ID}/webhooks`.
    Plan(PlanOptions),
    /// Read every file of a directory and report those that differ from their upload
    ///
    /// It can run beside the server. Each damaged file is a line on stdout, and the last line has the totals. The exit status
    /// is 0 if all files are intact, 2 if a file is damaged, and 1 after any other failure.
    #[command(after_help = VALUES)]
    Scrub(ScrubOptions),
    /// Copy a store to another one: from a directory to a bucket, or back
    ///
    /// The content of a file from a directory is compared with the SHA-256 of its upload. Media types and metadata are kept. A file
    /// that the destination has already is skipped, so a run that was interrupted continues where it stopped, and a different file
    /// there is replaced only with `--replace`. If a location is a directory, no server may use it meanwhile.
    ///
    /// The last line on stdout has the totals. The exit status is 0 if the destination has every file, 1 after a failure, and 2
    /// if the command line is wrong.
    Copy(CopyOptions),
    /// Record the files of a store in its ledger: for a store that is older than its ledger, or after the loss of a ledger
    ///
    /// `serve` does so itself when it starts with a new ledger. For a directory, the server must be stopped. A run that was interrupted
    /// continues where it stopped. The last line on stdout has the totals.
    Reindex(ReindexOptions),
    /// List, send and remove the events of a running server that its receivers have not accepted
    ///
    /// The command uses the API of the server's `--admin`, with the token of its `--admin-token-file`. A TIME is in UTC, such as
    /// `2026-11-29` or `2026-11-29T10:00:00Z`, or a duration before now, such as `2h`.
    ///
    /// The exit status is 0 if the command succeeded, 1 if the server could not be reached, refused a request or failed, and 2
    /// if the command line is wrong or the confirmation is missing: `--yes`, or `y` at the prompt.
    Events(EventsOptions),
    /// Find, fetch, export, verify and remove the files of a running server
    ///
    /// The command uses the API of the server's `--admin`, with the token of its `--admin-token-file`. A KEY is the percent-encoded
    /// path of a file, as `list` prints it. A TIME is in UTC, such as `2026-11-29` or `2026-11-29T10:00:00Z`, or a duration before
    /// now, such as `2h`.
    ///
    /// The exit status is 0 if the command succeeded, 1 if the server could not be reached, refused a request or failed, and 2
    /// if the command line is wrong or the confirmation is missing: `--yes`, `--force`, or `y` at the prompt.
    Files(FilesOptions),
    /// Show and verify the audit trail of a running server: who fetched or removed each file
    ///
    /// The command uses the API of the server's `--admin`, with the token of its `--admin-token-file`. A KEY is the percent-encoded
    /// path of a file. A TIME is in UTC, such as `2026-11-29` or `2026-11-29T10:00:00Z`, or a duration before now, such as `2h`.
    ///
    /// The exit status is 0 if the command succeeded, 1 if the trail was changed, or the server could not be reached, refused a
    /// request or failed, and 2 if the command line is wrong.
    Audit(AuditOptions),
    /// Protect files of a running server from removal and replacement
    ///
    /// The command uses the API of the server's `--admin`, with the token of its `--admin-token-file`. A KEY is the percent-encoded
    /// path of a file, as `files list` prints it. A TIME is in UTC, such as `2026-11-29` or `2026-11-29T10:00:00Z`, or a duration
    /// before now, such as `2h`.
    ///
    /// The exit status is 0 if the command succeeded, 1 if the server could not be reached, refused a request or failed, or a removal
    /// that began before the hold has not ended, and 2 if the command line is wrong.
    Hold(HoldOptions),
    /// Erase the files of an account or of a number from a running server, and their data in its ledger
    ///
    /// The command shows the files and asks for confirmation. It uses the API of the server's `--admin`, with the token of its
    /// `--admin-token-file`. After an error, run it again: it removes the files that are left.
    ///
    /// The exit status is 0 if no file is left, 1 if files were kept, because a hold or the policy protects them, or if the server
    /// could not be reached, refused the request or failed, and 2 if the command line is wrong or the confirmation is missing:
    /// `--yes`, or `y` at the prompt.
    Erase(EraseOptions),
    /// Preview what a policy deletes from a running server, cancel requested deletions, and resume suspended retention
    ///
    /// The command uses the API of the server's `--admin`, with the token of its `--admin-token-file`.
    ///
    /// The exit status is 0 if the command succeeded, 1 if the server could not be reached, refused a request or failed, and 2
    /// if the command line is wrong.
    Retention(RetentionOptions),
    /// Ask a running server whether it is ready, for the health check of a container
    ///
    /// The command asks for `/readyz` at the server's `--admin`, and needs no token. It waits at most 5 seconds. If the server is
    /// not ready, the reason is printed on stderr.
    ///
    /// The exit status is 0 if the server is ready, 1 if it is not or could not be reached, and 2 if the command line is wrong.
    Health(AdminServerOptions),
    /// Check or show the configuration: the values that `serve` takes from its flags, its environment and its file
    ///
    /// The exit status is 0 if the configuration is valid, and 2 if it is not.
    Config(ConfigOptions),
    /// Test a storage server as KAZOO uses it, and report failures with their cause and remedy
    ///
    /// With a URL, it stores and fetches as every release since 4.0, with PUT and POST, raw, as multipart and in base64:
    /// empty, small and large files, unusual names, the same file twice, and a missing file. With `--settings`, it sends only
    /// requests that KAZOO would send with these settings. It works with any server.
    ///
    /// KAZOO deletes nothing, so the files of the check remain: about ten, as long as `--large` together, of the account
    /// `--account`, under its id below the URL unless the settings name files differently. A server that stores KAZOO's
    /// credentials probes keeps those too (`…_test_credentials_file.txt`). Each check replaces the files of the last one.
    /// `--load` leaves at most 64 files for each connection.
    ///
    /// The exit status is 0 if everything works, 1 if something that KAZOO needs fails, and 2 if nothing could be tested: wrong
    /// usage, or no connection. The output shows only the host and the port of the URL.
    #[command(after_help = VALUES)]
    Check(Box<CheckOptions>),
    /// Write the completions or the man pages, for a package
    #[command(hide = true)]
    Generate(GenerateOptions),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::grammar().debug_assert();
    }

    /// Returns the commands at and below `command`, each with its name after those above it.
    fn commands<'a>(command: &'a clap::Command, above: &[&'a str]) -> Vec<(Vec<&'a str>, &'a clap::Command)> {
        let path: Vec<&str> = above.iter().copied().chain([command.get_name()]).collect();
        let below: Vec<_> = command
            .get_subcommands()
            .flat_map(|below| commands(below, &path))
            .collect();
        [(path, command)].into_iter().chain(below).collect()
    }

    #[test]
    fn only_the_flags_of_serve_have_environment_variables() {
        let grammar = Cli::grammar();
        let of_serve = flags(grammar.find_subcommand("serve"));
        assert!(of_serve.contains(&"admin-token-file".to_owned()));
        for (path, command) in commands(&grammar, &[]) {
            // A command below another one has no variables.
            let has_variables = path.len() == 2;
            for flag in command.get_arguments().filter(|arg| arg.get_id() != "help") {
                let variable = flag.get_env().map(|name| name.to_str().unwrap().to_owned());
                let name = flag.get_long().unwrap_or_default();
                let expected = match (&path[..], name) {
                    ([_], "config") => Some("KAZOO_STORAGE_CONFIG".to_owned()),
                    // It may have a password, which other users see in a command line.
                    ([_, "plan" | "check"], _) if flag.get_id() == "url" => Some("KAZOO_STORAGE_URL".to_owned()),
                    _ => (has_variables && of_serve.iter().any(|shared| shared == name))
                        .then(|| format!("KAZOO_STORAGE_{}", name.to_uppercase().replace('-', "_"))),
                };
                assert_eq!(variable, expected, "{path:?} {name}");
            }
        }
    }

    #[test]
    fn no_text_of_an_administrative_command_is_empty() {
        let grammar = Cli::grammar();
        let mut refused = 0;
        for (path, command) in commands(&grammar, &[]) {
            if !["events", "files", "audit", "hold", "erase"]
                .iter()
                .any(|name| path.get(1) == Some(name))
            {
                continue;
            }
            for flag in command.get_arguments() {
                let is_text = flag.get_value_parser().type_id() == clap::builder::ValueParser::string().type_id();
                let Some(name) = flag.get_long().filter(|_| is_text) else {
                    continue;
                };
                let arguments = path.iter().map(|name| (*name).to_owned()).chain([format!("--{name}=")]);
                let error = grammar.clone().try_get_matches_from(arguments).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ValueValidation, "{path:?} {name}: {error}");
                refused += 1;
            }
        }
        assert!(refused > 20, "{refused}");
    }
}
