//! The program `kazoo-storage`: the storage server, and the commands to plan, check, scrub and reindex a storage, to
//! steer its events and to check its health.

mod admin;
mod admin_client;
mod check;
mod cli;
mod config;
mod events;
mod explain;
mod files;
mod generate;
mod health;
mod log;
mod net;
mod plan;
mod progress;
mod reindex;
mod scrub;
mod serve;
mod shutdown;
mod storage;

use std::{error::Error, process::ExitCode};

use net::inherited::Inherited;

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
        cli::Command::Reindex(options) => reindex::run(options),
        cli::Command::Config(options) => explain::run(options.action, config.as_deref()),
        cli::Command::Events(options) => Ok(events::run(options)),
        cli::Command::Health(options) => Ok(health::run(options)),
        cli::Command::Check(options) => Ok(check::run(&options)),
        cli::Command::Generate(options) => generate::run(&options).map(|()| ExitCode::SUCCESS).map_err(Into::into),
    };
    result.unwrap_or_else(|error| {
        eprintln!("kazoo-storage: {}", log::chain(&*error));
        if error.is::<config::Invalid>() {
            return ExitCode::from(2);
        }
        ExitCode::FAILURE
    })
}

fn serve(mut options: cli::ServeOptions) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let inherited = Inherited::from_env().map_err(config::Invalid)?;
    if let Some(inherited) = &inherited {
        // Decides whether the server needs access rules.
        options.listen = inherited.address;
    }
    let config = config::Config::try_from(options).map_err(config::Invalid)?;
    serve::run(config, inherited)
}
