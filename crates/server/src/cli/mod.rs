//! The command line, and the environment variables that set its flags.

mod admin;
mod check;
mod config;
mod events;
mod file;
mod generate;
mod ledger;
mod location;
mod plan;
mod reindex;
mod scrub;
mod serve;
mod sources;
mod values;

use std::{env, ffi::OsString, path::PathBuf};

use clap::{
    ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use self::sources::Sources;
pub(crate) use self::{
    admin::{AdminAddress, AdminClientOptions, AdminOptions, AdminServer, AdminServerOptions},
    check::CheckOptions,
    config::{ConfigAction, ConfigOptions, Setting},
    events::{
        DeadOptions, DiscardOptions, EventsAction, EventsOptions, ListOptions, ReceiversAction, ReplayOptions,
        RetryOptions, State,
    },
    generate::{GenerateOptions, GeneratedFiles},
    ledger::LedgerLocation,
    location::{Cloud, Location},
    plan::{PlanOptions, Verb},
    reindex::ReindexOptions,
    scrub::ScrubOptions,
    serve::{Base64Mode, LogFormat, ServeOptions, StoreOptions, TlsOptions},
    values::{KeySource, Size},
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
    /// Its keys are the names of the flags. A flag wins over its environment variable, and that over the file. With `-file` behind
    /// the name, the value is in a file of its own. `reindex`, `scrub`, `events` and `health` use the flags in it that they have too.
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
        Self::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit())
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

    /// The subcommands and their flags. An environment variable sets each flag: `KAZOO_STORAGE_MAX_BODY` sets `--max-body`.
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
        .filter_map(|name| Some(format!("--{name} is set in {}", sources.place(name)?.0)))
        .collect();
    (!places.is_empty()).then(|| places.join("; "))
}

/// Gives each flag its variable. The flags of a command below another, such as `events discard --dead`, have none: they are for one
/// call.
fn with_variables(command: clap::Command) -> clap::Command {
    let with_variable = |arg: clap::Arg| {
        if arg.is_positional() {
            return arg;
        }
        let name = arg.get_id().as_str().to_uppercase();
        arg.env(format!("KAZOO_STORAGE_{name}"))
    };
    let command = command.mut_args(with_variable);
    command.mut_subcommands(|command| command.mut_args(with_variable))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store KAZOO's uploads and serve them
    ///
    /// The first SIGTERM or Ctrl-C stops the server: it accepts no new connections, finishes the requests in progress,
    /// answers requests that arrive on open connections, and exits with status 0 when all connections are closed or the
    /// grace period ends. A second signal stops it at once, with status 128 plus the signal's number.
    ///
    /// The status is 2 if a flag, or a file that a flag names, is wrong, and 1 if the server cannot start for another reason.
    #[command(after_help = VALUES)]
    Serve(Box<ServeOptions>),
    /// Print a storage document for KAZOO, and report settings that KAZOO would refuse
    ///
    /// The document is printed on stdout: PUT it to `/v2/accounts/{ACCOUNT_ID}/storage`, and pass it to `serve --settings`.
    /// Instructions are printed on stderr.
    Plan(PlanOptions),
    /// Read every file of a directory and report those that differ from their upload
    ///
    /// It can run beside the server. Each damaged file is a line on stdout, and the last line has the totals. The status is
    /// 0 if all files are intact, 2 if a file is damaged, and 1 after any other failure.
    #[command(after_help = VALUES)]
    Scrub(ScrubOptions),
    /// Record the files of a store in its ledger: for a store that is older than its ledger, or after the loss of a ledger
    ///
    /// `serve` does so by itself with a new ledger. For a directory, the server must be stopped. A run that was interrupted
    /// continues where it stopped. The last line on stdout has the totals.
    Reindex(ReindexOptions),
    /// See and steer the events of a running server: those that its receivers have not accepted
    ///
    /// The command uses the API of the server's `--admin`, with the token of its `--admin-token-file`. A TIME is in UTC, such as
    /// `2026-11-29` or `2026-11-29T10:00:00Z`, or a duration before now, such as `2h`.
    ///
    /// The status is 0 if the server has done everything, 1 if it could not be reached, refused or failed, and 2 if the command
    /// line is wrong or a confirmation with `--yes` is missing.
    Events(EventsOptions),
    /// Ask a running server whether it is ready: for the health check of a container
    ///
    /// The command asks for `/readyz` at the server's `--admin`, and needs no token. It waits at most 5 seconds. If the server is
    /// not ready, the reason is printed on stderr.
    ///
    /// The status is 0 if the server is ready, 1 if it is not or could not be reached, and 2 if the command line is wrong.
    Health(AdminServerOptions),
    /// Check or show the configuration: the values that `serve` has from its file and its environment
    ///
    /// The status is 0 if the configuration is valid, and 2 if it is not.
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
    /// The status is 0 if everything works, 1 if something that KAZOO needs fails, and 2 if nothing could be tested: wrong
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

    #[test]
    fn every_flag_of_a_command_has_its_environment_variable() {
        let command = Cli::grammar();
        let flags = command.get_subcommands().flat_map(clap::Command::get_arguments);
        for flag in flags.filter(|arg| arg.get_id() != "help" && !arg.is_positional()) {
            let name = flag.get_long().unwrap().to_uppercase().replace('-', "_");
            let expected = format!("KAZOO_STORAGE_{name}");
            assert_eq!(flag.get_env().unwrap(), expected.as_str());
        }
        let below = command.get_subcommands().flat_map(clap::Command::get_subcommands);
        let mut flags = below.flat_map(clap::Command::get_arguments);
        assert!(flags.all(|flag| flag.get_env().is_none()));
    }
}
