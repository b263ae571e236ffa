//! The program `kazoo-storage`: the storage server, and the commands to plan, check, scrub, copy and reindex a storage, to
//! find, fetch, export, verify, hold and remove its files, to manage its retention and its events, to show its audit trail and
//! to check its health.

mod admin;
mod admin_client;
mod audit;
mod check;
mod cli;
mod config;
mod config_command;
mod confirmation;
mod copy;
mod erase;
mod events;
mod file_kind;
mod files;
mod flag_file;
mod generate;
mod health;
mod hold;
mod log;
mod net;
mod plan;
mod policy_file;
mod printable;
mod progress;
mod reindex;
mod retention;
mod scrub;
mod serve;
mod shutdown;
mod signals;
mod storage;
mod table;
mod toml_file;

use std::{error::Error, process::ExitCode};

use net::inherited::Sockets;

/// A request makes about 75 allocations, all small and short-lived.
///
/// Built without huge pages (`no_thp`): each takes 2 MiB once a byte of it is used.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Disables huge pages for the process too, on systems that enable them for every process.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let cli::Cli { command, config } = cli::Cli::read();
    let result = match command {
        cli::Command::Serve(options) => serve(*options),
        cli::Command::Plan(options) => plan::run(&options),
        cli::Command::Scrub(options) => scrub::run(&options),
        cli::Command::Copy(options) => copy::run(&options),
        cli::Command::Reindex(options) => reindex::run(options),
        cli::Command::Config(options) => config_command::run(options.action, config.as_deref()),
        cli::Command::Events(options) => Ok(events::run(options)),
        cli::Command::Files(options) => Ok(files::run(options)),
        cli::Command::Audit(options) => Ok(audit::run(options)),
        cli::Command::Hold(options) => Ok(hold::run(options)),
        cli::Command::Erase(options) => Ok(erase::run(options)),
        cli::Command::Retention(options) => Ok(retention::run(options)),
        cli::Command::Health(options) => Ok(health::run(options)),
        cli::Command::Check(options) => Ok(check::run(&options)),
        cli::Command::Generate(options) => generate::run(&options).map(|()| ExitCode::SUCCESS).map_err(Into::into),
    };
    result.unwrap_or_else(|error| {
        printable::complain(&log::chain(&*error));
        if error.is::<config::Invalid>() {
            return ExitCode::from(2);
        }
        ExitCode::FAILURE
    })
}

fn serve(mut options: cli::ServeOptions) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let sockets = Sockets::from_env().map_err(config::Invalid)?;
    if let Some(listen) = &sockets.listen {
        // Decides whether the server needs access rules.
        options.listen = listen.address;
    }
    if let Some(admin) = &sockets.admin {
        options.admin.admin = Some(cli::AdminAddress::Tcp(admin.address));
    }
    let config = config::Config::try_from(options).map_err(config::Invalid)?;
    serve::run(config, sockets)
}
