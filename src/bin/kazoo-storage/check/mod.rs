//! The `check` command: whether KAZOO will be content with a storage, and if not, why.

mod answer;
mod cause;
mod diagnose;
mod options;
mod print;
mod report;
mod sample;
mod secrets;
mod trial;
mod way;

use std::{
    collections::HashSet,
    error::Error as StdError,
    fs,
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use kazoo_storage::client::{Client, Patience, StorageUrl, Tls};

pub(crate) use self::options::CheckOptions;
use self::{
    cause::Cause,
    report::{Finding, Report, findings},
    secrets::Secrets,
    trial::Trials,
    way::Ways,
};
use crate::{log, size::Size};

/// What the command exits with if nothing could be tried.
const NOT_TRIED: u8 = 2;

type Result<T> = std::result::Result<T, Box<dyn StdError + Send + Sync>>;

/// Tries everything, and reports on stdout.
pub(crate) fn run(options: &CheckOptions) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(check(options)));
    done.unwrap_or_else(|error| {
        eprintln!("kazoo-storage: {}", log::chain(&*error));
        ExitCode::from(NOT_TRIED)
    })
}

async fn check(options: &CheckOptions) -> Result<ExitCode> {
    let began = Instant::now();
    let (ways, settings) = match (&options.settings, &options.url) {
        (Some(file), _) => {
            let json = fs::read_to_string(file).map_err(|error| format!("--settings {}: {error}", file.display()))?;
            Ways::of_settings(&json)?
        }
        (None, Some(url)) => Ways::of_url(url)?,
        (None, None) => return Err("a URL is missing, or --settings".into()),
    };
    let Some(url) = ways.tried.first().map(|way| way.handler.url().clone()) else {
        return Err("no release can be served with these settings".into());
    };
    let secrets = Secrets::of(&url);
    let mut found: Vec<Finding> = Vec::new();
    let mut trials = Vec::new();
    match settings {
        Err(error) => found.push(Finding::of_settings(Cause::Settings, error.message())),
        Ok(settings) => {
            found.extend(
                settings
                    .warnings()
                    .map(|warning| Finding::of_settings(Cause::Warning, warning)),
            );
            let Size(large) = options.large;
            let mut tries = Trials {
                client: client(options)?,
                account: &options.account,
                large: usize::try_from(large)?,
                secrets: &secrets,
                by_query: ways.by_query,
                sent: HashSet::new(),
                stored: false,
                token: trial::token()?,
            };
            trials = tries.all(&ways, options.idle).await?;
            let seen = findings(&trials);
            found.splice(0..0, seen);
        }
    }
    let report = Report {
        target: target(&url),
        account: options.account.clone(),
        trials,
        ways,
        findings: found,
        took: began.elapsed(),
    };
    let text = if options.json {
        format!("{:#}\n", report.json(&secrets))
    } else {
        print::text(&report, &secrets)
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::from(report.exit()))
}

fn client(options: &CheckOptions) -> Result<Client> {
    let patience = Patience {
        connect: options.timeout.min(Duration::from_secs(10)),
        answer: options.timeout,
        retry: options.timeout,
    };
    let client = Client::new().patience(patience);
    Ok(match &options.ca {
        Some(file) => {
            let pem = fs::read(file).map_err(|error| format!("--ca {}: {error}", file.display()))?;
            let tls = Tls::with_authorities(&pem).map_err(|error| format!("--ca {}: {error}", file.display()))?;
            client.tls(tls)
        }
        None => client,
    })
}

/// What may be shown of `url`.
fn target(url: &StorageUrl) -> String {
    let scheme = if url.is_https() { "https" } else { "http" };
    let host = url.host();
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    format!("{scheme}://{host}:{}", url.port())
}
