//! The options of `config`.

use std::path::Path;

use clap::{ArgMatches, Args, FromArgMatches as _, Subcommand, parser::ValueSource};

use super::{Cli, Command, ServeOptions, sources};

#[derive(Args, Debug)]
pub(crate) struct ConfigOptions {
    #[command(subcommand)]
    pub(crate) action: ConfigAction,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Check the file, and the files that it names, as `serve` does when it starts
    Check,
    /// Print the value of each flag of `serve`, and where it comes from; secrets are masked
    Show,
}

/// The value of a flag of `serve`.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) flag: String,
    /// The values as text, without secrets.
    pub(crate) values: Vec<String>,
    /// `default`, the name of an environment variable, or the file and line.
    pub(crate) source: String,
}

/// The configuration with which `serve` starts without flags.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) options: ServeOptions,
    pub(crate) settings: Vec<Setting>,
    /// The file, if there is one.
    pub(crate) file: Option<String>,
}

impl Cli {
    /// Returns the configuration of `serve` without flags but `--config`. Ends the process if it is invalid.
    pub(crate) fn configured(config: Option<&Path>) -> Option<Configured> {
        let grammar = Self::grammar();
        let sources = Self::merged(&grammar, sources::of_serve(config));
        let mut matches = Self::matches(&grammar, &sources);
        let serve = matches.subcommand_matches("serve")?;
        let given = grammar
            .find_subcommand("serve")
            .into_iter()
            .flat_map(clap::Command::get_arguments);
        let settings = given.filter_map(|arg| {
            let (flag, id) = (arg.get_long()?, arg.get_id().as_str());
            let (source, is_secret) = match serve.value_source(id)? {
                ValueSource::DefaultValue => ("default".to_owned(), false),
                ValueSource::EnvVariable => (arg.get_env()?.to_string_lossy().into_owned(), false),
                _ => sources.place(flag)?,
            };
            let values = texts(serve, id).into_iter();
            Some(Setting {
                flag: flag.to_owned(),
                values: values
                    .map(|value| {
                        if is_secret {
                            "***".to_owned()
                        } else {
                            sources::masked(value)
                        }
                    })
                    .collect(),
                source,
            })
        });
        let settings = settings.collect();
        let file = sources.file().map(ToString::to_string);
        match Self::from_arg_matches_mut(&mut matches).ok()?.command {
            Command::Serve(options) => Some(Configured {
                options: *options,
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
