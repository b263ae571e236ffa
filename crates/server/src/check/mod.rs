//! The `check` command: whether KAZOO will be content with a storage, and if not, why.

mod answer;
mod cause;
mod diagnose;
mod leftovers;
mod load;
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

use bytes::Bytes;
use kazoo_storage_client::{Client, Patience, Tls};
use serde_json::{Value, json};

use self::{
    cause::Cause,
    leftovers::Leftovers,
    load::{Load, Tally},
    report::{Finding, Report, findings},
    secrets::Secrets,
    trial::Trials,
    way::{Way, Ways},
};
use crate::{
    cli::{CheckOptions, Size},
    log,
};

/// What the command exits with if something that KAZOO needs does not work.
const FAILURE: u8 = 1;

/// What the command exits with if nothing could be tried.
const NOT_TRIED: u8 = 2;

type Outcome<T> = Result<T, Box<dyn StdError + Send + Sync>>;

/// Tries everything, and reports on stdout.
pub(crate) fn run(options: &CheckOptions) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(Into::into).and_then(|runtime| {
        let done = runtime.block_on(check(options));
        // The system may go on asking for the address of a host long after nobody waits for it.
        runtime.shutdown_background();
        done
    });
    done.unwrap_or_else(|error| {
        let error = log::chain(&*error);
        if options.json {
            println!("{:#}", json!({"error": error, "exit": NOT_TRIED}));
        } else {
            eprintln!("kazoo-storage: {error}");
        }
        ExitCode::from(NOT_TRIED)
    })
}

async fn check(options: &CheckOptions) -> Outcome<ExitCode> {
    let began = Instant::now();
    let (ways, settings) = match (&options.settings, &options.url) {
        (Some(file), _) => {
            let shown = file.display();
            let json = fs::read_to_string(file).map_err(|error| format!("--settings {shown}: {error}"))?;
            Ways::of_settings(&json).map_err(|error| format!("--settings {shown}: {error}"))?
        }
        (None, Some(url)) => Ways::of_url(url)?,
        (None, None) => {
            return Err(
                "what is to be checked? Give a URL as it is in KAZOO's storage settings, or --settings FILE".into(),
            );
        }
    };
    let Some(url) = ways.tried.first().map(|way| way.handler.url().clone()) else {
        return Err("no release can be served with these settings".into());
    };
    let secrets = Secrets::of(&url);
    let clients = Clients::new(options)?;
    let mut found: Vec<Finding> = Vec::new();
    let mut trials = Vec::new();
    let mut leftovers = Leftovers::default();
    match settings {
        Err(error) => found.push(Finding::of_settings(Cause::Settings, error.message())),
        Ok(settings) => {
            found.extend(settings.warnings().map(|warning| {
                let is_unused = settings.unused() == Some(warning);
                Finding::of_settings(if is_unused { Cause::NoPlan } else { Cause::Warning }, warning)
            }));
            let Size(large) = options.large;
            let mut tries = Trials {
                client: clients.client(),
                account: &options.account,
                large: usize::try_from(large)?,
                secrets: &secrets,
                by_query: ways.by_query,
                sent: HashSet::new(),
                leftovers: Leftovers::default(),
                is_ours: false,
                works_as_written: false,
                token: trial::token()?,
            };
            trials = match options.load {
                Some(_) => tries.probes(&ways).await?,
                None => tries.all(&ways, options.idle).await?,
            };
            leftovers = tries.leftovers;
            leftovers.settle(tries.is_ours);
            let seen = findings(&trials, &ways);
            found.splice(0..0, seen);
        }
    }
    let mut report = Report {
        target: url.origin(),
        account: options.account.clone(),
        trials,
        ways,
        findings: found,
        leftovers,
        took: began.elapsed(),
    };
    let working = report.trials.iter().filter(|trial| trial.works());
    let working: Vec<Way> = working.map(|trial| trial.way.clone()).collect();
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
    let fails = tally.as_ref().is_some_and(|tally| !tally.is_well());
    let exit = if fails { FAILURE } else { report.exit() };
    let text = if options.json {
        let mut json = report.json(&secrets);
        if let (Some(tally), Value::Object(json)) = (&tally, &mut json) {
            json.insert("load".to_owned(), tally.json());
            json.insert("exit".to_owned(), exit.into());
        }
        format!("{json:#}\n")
    } else {
        let text = match tally {
            // What is loaded works, so that no more is asked for than what may fail.
            Some(tally) if report.exit() == 0 => print::warnings(&report, &secrets) + &tally.text(),
            Some(tally) => format!("{}\n{}", print::text(&report, &secrets), tally.text()),
            None => print::text(&report, &secrets),
        };
        text + &report.leftovers.text(&report.account)
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::from(exit))
}

async fn load(
    options: &CheckOptions,
    clients: Vec<Client>,
    ways: Vec<Way>,
    leftovers: &mut Leftovers,
) -> Outcome<Tally> {
    let Size(size) = options.size;
    let first = ways.first().cloned();
    let load = Load {
        ways,
        account: options.account.clone(),
        size: usize::try_from(size)?,
        span: options.span,
    };
    let tally = load::run(load, clients).await?;
    if let Some(way) = first {
        for name in &tally.names {
            let file = load::file(&options.account, *name, Bytes::new())?;
            leftovers.stored(&way, &way.handler.url_of(way.dialect, &file), &file);
        }
    }
    Ok(tally)
}

/// What makes clients as the options have them.
struct Clients {
    patience: Patience,
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
            // What is kept as it came is answered so: encoded, and with the document.
            max_answer: usize::try_from(longest.saturating_mul(2).saturating_add(1 << 20))?,
            patience: Patience {
                connect: options.timeout.min(Duration::from_secs(10)),
                answer: options.timeout,
                retry: options.timeout,
            },
            tls: tls.transpose()?,
        })
    }

    fn client(&self) -> Client {
        let client = Client::new().patience(self.patience).max_answer(self.max_answer);
        match &self.tls {
            Some(tls) => client.tls(tls.clone()),
            None => client,
        }
    }
}
