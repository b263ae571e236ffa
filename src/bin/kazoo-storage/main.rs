//! `kazoo-storage`: the storage server as one command.

mod accept;
mod cli;
mod connection;
mod drain;
mod linger;
mod log;
mod serve;
mod shutdown;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli::Cli { command } = cli::Cli::parse();
    let result = match command {
        cli::Command::Serve(options) => serve::run(options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("kazoo-storage: {}", log::chain(&*error));
        ExitCode::FAILURE
    })
}
