//! The hidden command `generate`: writes the completions and the man pages of a package.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use crate::cli::{Cli, GenerateOptions, GeneratedFiles};

/// The commands with the flags that the configuration file sets, and the name of its page.
const SERVE: &str = "serve";
const FILE_PAGE: &str = "kazoo-storage.toml";

/// Writes the files that `options` names.
pub(crate) fn run(options: &GenerateOptions) -> io::Result<()> {
    match options.files {
        GeneratedFiles::Completions => completions(&options.directory),
        GeneratedFiles::Man => man(&options.directory),
    }
}

fn completions(directory: &Path) -> io::Result<()> {
    let mut grammar = Cli::grammar();
    let name = grammar.get_name().to_owned();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut grammar, &name, directory)?;
    }
    Ok(())
}

fn man(directory: &Path) -> io::Result<()> {
    let grammar = Cli::grammar();
    if let Some(serve) = grammar.find_subcommand(SERVE) {
        let mut page = fs::File::create(directory.join(format!("{FILE_PAGE}.5")))?;
        file_page(&grammar, serve, &mut page)?;
    }
    clap_mangen::generate_to(grammar, directory)
}

/// Writes the page of the configuration file: each flag of `serve` is a key.
fn file_page(grammar: &Command, serve: &Command, page: &mut dyn Write) -> io::Result<()> {
    Man::new(grammar.clone())
        .title(FILE_PAGE)
        .section("5")
        .render_title(page)?;
    let config = grammar.get_arguments().find(|arg| arg.get_long() == Some("config"));
    let mut roff = Roff::default();
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{FILE_PAGE} - configuration file of kazoo-storage"))]);
    roff.control("SH", ["DESCRIPTION"]);
    if let Some(config) = config {
        paragraphs(&mut roff, &help(config));
    }
    paragraphs(
        &mut roff,
        "kazoo-storage config check checks the file, and kazoo-storage config show prints the values in use.",
    );
    roff.control("SH", ["KEYS"]);
    for arg in serve.get_arguments().filter(|arg| !arg.is_hide_set()) {
        let Some(key) = arg.get_long() else { continue };
        roff.control("TP", []);
        roff.text([bold(key), roman(format!(" = {}", value(arg)))]);
        for (index, paragraph) in help(arg).split("\n\n").enumerate() {
            if index > 0 {
                roff.control("IP", []);
            }
            roff.text([roman(paragraph)]);
        }
    }
    roff.control("SH", ["FILES"]);
    roff.text([roman("/etc/kazoo-storage/config.toml")]);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("kazoo-storage-serve"),
        roman("(1), "),
        bold("kazoo-storage-config"),
        roman("(1)"),
    ]);
    roff.to_writer(page)
}

fn paragraphs(roff: &mut Roff, text: &str) {
    for paragraph in text.split("\n\n") {
        roff.control("PP", []);
        roff.text([roman(paragraph)]);
    }
}

/// Returns the whole help of a flag.
fn help(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    help.map(ToString::to_string).unwrap_or_default()
}

/// Returns the default of a flag, or the form of its value.
fn value(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return "false".to_owned();
    }
    if let [default] = arg.get_default_values() {
        let default = default.to_string_lossy();
        return match default.parse::<u64>() {
            Ok(_) => default.into_owned(),
            Err(_) => format!("\"{default}\""),
        };
    }
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().flat_map(|name| ["\"", name, "\""]).collect()
}
