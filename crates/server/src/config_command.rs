//! The `config` command: checks and shows the configuration of `serve`.

use std::{
    error::Error,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use crate::{
    cli::{Cli, ConfigAction, Setting},
    config::{Config, Invalid},
    printable::printable,
    serve,
};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Checks or shows the configuration in the file `--config`, or in the default one.
pub(crate) fn run(action: ConfigAction, file: Option<&Path>) -> Fallible<ExitCode> {
    let (is_check, given) = match action {
        ConfigAction::Check(given) => (true, given),
        ConfigAction::Show(given) => (false, given),
    };
    let Some(configured) = Cli::configured(file, given) else {
        return Err("`serve` has no configuration".into());
    };
    if !is_check {
        show(&configured.settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = Config::try_from(configured.options).map_err(Invalid)?;
    serve::check(&config).map_err(Invalid)?;
    for warning in serve::permission_warnings(&config) {
        eprintln!("warning: {}", printable(&warning));
    }
    let source = configured.file.as_deref().unwrap_or("the configuration");
    // A closed stdout is no defect of the configuration.
    let _ = writeln!(io::stdout(), "{source} is valid");
    Ok(ExitCode::SUCCESS)
}

/// Prints the settings as TOML, each with its source.
fn show(settings: &[Setting]) -> io::Result<()> {
    let lines: Vec<String> = settings.iter().map(assignment).collect();
    let width = lines
        .iter()
        .map(|line| line.chars().count())
        .filter(|width| *width <= 60)
        .max();
    let mut out = io::stdout().lock();
    for (line, setting) in lines.iter().zip(settings) {
        writeln!(
            out,
            "{line:<width$}  # {}",
            setting.source.as_deref().unwrap_or("not set"),
            width = width.unwrap_or_default()
        )?;
    }
    Ok(())
}

/// Returns the line of the file for `setting`, as a comment if it is not set.
fn assignment(setting: &Setting) -> String {
    let values: Vec<String> = setting.values.iter().map(|value| quoted(value)).collect();
    let value = match &values[..] {
        [value] if !setting.is_list => value.clone(),
        values => format!("[{}]", values.join(", ")),
    };
    let start = if setting.source.is_none() { "# " } else { "" };
    format!("{start}{} = {value}", setting.flag)
}

/// A JSON string is a string in TOML too.
fn quoted(value: &str) -> String {
    match value {
        "true" | "false" => value.to_owned(),
        value => serde_json::Value::from(value).to_string(),
    }
}
