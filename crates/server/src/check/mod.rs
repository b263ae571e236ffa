//! The `check` command: tests a storage server as KAZOO uses it, and explains failures.

mod cause;
mod diagnose;
mod leftovers;
mod load;
mod report;
mod response;
mod runner;
mod sample;
mod scenario;
mod secrets;
mod text;

use std::{
    collections::HashSet,
    error::Error as StdError,
    fs,
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kazoo_storage_client::{Client, Timeouts, Tls};
use serde_json::{Value, json};

use self::{
    cause::Cause,
    leftovers::Leftovers,
    load::{Load, Tally},
    report::{Finding, Report, findings},
    runner::Runner,
    scenario::{Scenario, Scenarios},
    secrets::Secrets,
};
use crate::{
    cli::{CheckOptions, Size},
    log,
    printable::{complain, printable_lines},
};

/// Exit status if something that KAZOO needs does not work.
const FAILURE: u8 = 1;

/// Exit status if nothing could be tested.
const NOT_TESTED: u8 = 2;

type Outcome<T> = Result<T, Box<dyn StdError + Send + Sync>>;

/// Runs the check and prints the report on stdout.
pub(crate) fn run(options: &CheckOptions) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(Into::into).and_then(|runtime| {
        let done = runtime.block_on(check(options));
        // A DNS query of the system may continue long after its timeout.
        runtime.shutdown_background();
        done
    });
    done.unwrap_or_else(|error| {
        let error = log::chain(&*error);
        if options.json {
            println!("{:#}", json!({"error": error, "exit": NOT_TESTED}));
        } else {
            complain(&error);
        }
        ExitCode::from(NOT_TESTED)
    })
}

async fn check(options: &CheckOptions) -> Outcome<ExitCode> {
    let began = Instant::now();
    let (scenarios, settings) = match (&options.settings, &options.url) {
        (Some(file), _) => {
            let shown = file.display();
            let json = fs::read_to_string(file).map_err(|error| format!("--settings {shown}: {error}"))?;
            Scenarios::of_settings(&json).map_err(|error| format!("--settings {shown}: {error}"))?
        }
        (None, Some(url)) => Scenarios::of_url(url)?,
        (None, None) => {
            return Err("the URL is missing: pass the URL in KAZOO's storage settings, or --settings FILE".into());
        }
    };
    let Some(url) = scenarios.all.first().map(|scenario| scenario.handler.url().clone()) else {
        return Err("no KAZOO release can be served with these settings".into());
    };
    let secrets = Secrets::of(&url);
    let clients = Clients::new(options)?;
    let mut found: Vec<Finding> = Vec::new();
    let mut results = Vec::new();
    let mut leftovers = Leftovers::default();
    match settings {
        Err(error) => found.push(Finding::of_settings(Cause::InvalidSettings, error.message())),
        Ok(settings) => {
            found.extend(settings.warnings().map(|warning| {
                let cause = if settings.unused() == Some(warning) {
                    Cause::UnusedSettings
                } else {
                    Cause::SettingsWarning
                };
                Finding::of_settings(cause, warning)
            }));
            let Size(large) = options.large;
            let mut runner = Runner {
                client: clients.client(),
                account: &options.account,
                large: usize::try_from(large)?,
                secrets: &secrets,
                by_query: scenarios.by_query,
                sent: HashSet::new(),
                leftovers: Leftovers::default(),
                is_ours: false,
                works_as_written: false,
                token: runner::token()?,
            };
            results = match options.load {
                Some(_) => runner.probes(&scenarios).await?,
                None => runner.all(&scenarios, options.idle).await?,
            };
            leftovers = runner.leftovers;
            leftovers.settle(runner.is_ours);
            let of_results = findings(&results, &scenarios);
            found.splice(0..0, of_results);
        }
    }
    let mut report = Report {
        target: url.origin(),
        account: options.account.clone(),
        results,
        scenarios,
        findings: found,
        leftovers,
        took: began.elapsed(),
    };
    let working = report.results.iter().filter(|result| result.works());
    let working: Vec<Scenario> = working.map(|result| result.scenario.clone()).collect();
    let tally = match options.load.filter(|_| !working.is_empty()) {
        Some(connections) => {
            let clients = (0..connections).map(|_| clients.client()).collect();
            Some(load(options, clients, working, &mut report.leftovers).await?)
        }
        None => None,
    };
    if options.clean {
        report.leftovers.clean(&mut clients.client(), &secrets).await;
    }
    report.took = began.elapsed();
    let (text, exit) = output(&report, tally.as_ref(), options.json, &secrets);
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::from(exit))
}

/// Returns the report, as text or as JSON, and the exit status.
fn output(report: &Report, tally: Option<&Tally>, json: bool, secrets: &Secrets) -> (String, u8) {
    let load_failed = tally.is_some_and(|tally| !tally.succeeded());
    let exit = if load_failed { FAILURE } else { report.exit() };
    if json {
        let mut json = report.json(secrets);
        if let (Some(tally), Value::Object(json)) = (tally, &mut json) {
            json.insert("load".to_owned(), tally.json());
            json.insert("exit".to_owned(), exit.into());
        }
        return (format!("{json:#}\n"), exit);
    }
    let tally = tally.map(|tally| printable_lines(&tally.text()).into_owned());
    let text = match tally {
        // The loaded scenarios work, so only warnings matter.
        Some(tally) if report.exit() == 0 => text::warnings(report, secrets) + &tally,
        Some(tally) => format!("{}\n{tally}", text::text(report, secrets)),
        None => text::text(report, secrets),
    };
    (text + &printable_lines(&report.leftovers.text(&report.account)), exit)
}

async fn load(
    options: &CheckOptions,
    clients: Vec<Client>,
    scenarios: Vec<Scenario>,
    leftovers: &mut Leftovers,
) -> Outcome<Tally> {
    let Size(size) = options.size;
    let first = scenarios.first().cloned();
    let load = Load {
        scenarios,
        account: options.account.clone(),
        size: usize::try_from(size)?,
        span: options.span,
    };
    let tally = load::run(load, clients).await?;
    if let Some(scenario) = first {
        for name in &tally.names {
            let file = load::file(&options.account, *name, Bytes::new())?;
            leftovers.stored(&scenario, &scenario.url_of(&file), &file);
        }
    }
    Ok(tally)
}

/// Creates clients according to the options.
struct Clients {
    timeouts: Timeouts,
    max_answer: usize,
    tls: Option<Tls>,
}

impl Clients {
    fn new(options: &CheckOptions) -> Outcome<Self> {
        let tls = options.ca.as_ref().map(|file| -> Outcome<Tls> {
            let failed = |error: &dyn StdError| format!("--ca {}: {}", file.display(), log::chain(error));
            let pem = fs::read(file).map_err(|error| failed(&error))?;
            Ok(Tls::with_authorities(&pem).map_err(|error| failed(&error))?)
        });
        let Size(longest) = options.large.max(options.size);
        Ok(Self {
            // A server that stores bodies unparsed returns them encoded, with the document.
            max_answer: usize::try_from(longest.saturating_mul(2).saturating_add(1 << 20))?,
            timeouts: Timeouts {
                connect: options.timeout.min(Duration::from_secs(10)),
                response: options.timeout,
                retry: options.timeout,
            },
            tls: tls.transpose()?,
        })
    }

    fn client(&self) -> Client {
        let client = Client::new().timeouts(self.timeouts).max_answer(self.max_answer);
        match &self.tls {
            Some(tls) => client.tls(tls.clone()),
            None => client,
        }
    }
}
