//! The options of `config`.

use std::{ffi::OsString, path::Path};

use clap::{ArgAction, ArgMatches, Args, FromArgMatches as _, Subcommand, parser::ValueSource};

use super::{Cli, Command, ServeOptions, sources};

#[derive(Args, Debug)]
pub(crate) struct ConfigOptions {
    #[command(subcommand)]
    pub(crate) action: ConfigAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Check the file, and the files that it names, as `serve` does when it starts
    Check(GivenFlags),
    /// Print the value of each flag of `serve`, and where it comes from; secrets are masked
    Show(GivenFlags),
}

/// The flags that `serve` would get.
#[derive(Args, Debug)]
pub(crate) struct GivenFlags {
    /// Flags of `serve`, such as `--policy FILE`, which take precedence over the environment and the file
    #[arg(value_name = "FLAG", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) flags: Vec<OsString>,
}

/// The value of a flag of `serve`.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) flag: String,
    pub(crate) is_list: bool,
    /// The values as text, without secrets; those of a flag that is not set are the names in the help.
    pub(crate) values: Vec<String>,
    /// `default`, `command line`, the name of an environment variable, or the file and line; `None` if the flag is not set.
    pub(crate) source: Option<String>,
}

/// The configuration with which `serve` starts.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) options: ServeOptions,
    pub(crate) settings: Vec<Setting>,
    /// The file, if there is one.
    pub(crate) file: Option<String>,
}

impl Cli {
    /// Returns the configuration of `serve` with `--config` and `given`. Ends the process if it is invalid.
    pub(crate) fn configured(config: Option<&Path>, given: GivenFlags) -> Option<Configured> {
        let grammar = Self::grammar();
        let sources = Self::merged(&grammar, sources::of_serve(config, given.flags));
        let mut matches = Self::matches(&grammar, &sources);
        let serve = matches.subcommand_matches("serve")?;
        let given = grammar
            .find_subcommand("serve")
            .into_iter()
            .flat_map(clap::Command::get_arguments);
        let settings = given.filter_map(|arg| {
            let (flag, id) = (arg.get_long()?, arg.get_id().as_str());
            let (source, is_secret) = match serve.value_source(id) {
                // `--help` has no value.
                None if !arg.get_action().takes_values() => return None,
                None => (None, false),
                Some(ValueSource::DefaultValue) => (Some("default".to_owned()), false),
                Some(ValueSource::EnvVariable) => (Some(arg.get_env()?.to_string_lossy().into_owned()), false),
                Some(_) => match sources.origin(flag) {
                    Some(origin) => (Some(origin.name.clone()), origin.is_secret),
                    None => (Some("command line".to_owned()), false),
                },
            };
            let shown = |value| {
                if is_secret {
                    "***".to_owned()
                } else {
                    sources::masked(value)
                }
            };
            let values = match source {
                Some(_) => texts(serve, id).into_iter().map(shown).collect(),
                None => arg
                    .get_value_names()
                    .unwrap_or_default()
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            };
            Some(Setting {
                flag: flag.to_owned(),
                is_list: matches!(arg.get_action(), ArgAction::Append),
                values,
                source,
            })
        });
        let settings = settings.collect();
        let file = sources.file().map(ToString::to_string);
        match Self::from_arg_matches_mut(&mut matches).ok()?.command {
            Command::Serve(mut options) => Some(Configured {
                options: {
                    options.secret_files = sources.secret_files();
                    *options
                },
                settings,
                file,
            }),
            _ => None,
        }
    }
}

fn texts(matches: &ArgMatches, id: &str) -> Vec<String> {
    let raw = matches.get_raw(id).into_iter().flatten();
    raw.map(|text| text.to_string_lossy().into_owned()).collect()
}
