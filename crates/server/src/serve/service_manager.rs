//! Reports the state of the server to the service manager, such as systemd.
//!
//! The environment names the socket of the service manager. Without it, nothing is sent.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    admin::Readiness,
    net::{admission::Admission, pulse::Pulse},
    shutdown::Phase,
};

/// Interval between reports.
const INTERVAL: Duration = Duration::from_secs(10);

/// Time that a server which is opening its files has for the next report.
const OPENING: Duration = Duration::from_secs(60);

/// Time from the end of the grace period to the exit: receivers answer, and the disk finishes.
const EXIT: Duration = Duration::from_secs(10);

/// Reports that `what` is being opened, and extends the time limit of the start until the result is dropped.
pub(super) fn opening(what: &str) -> AbortOnDropHandle<()> {
    let status = format!("opening the {what}");
    let report = move || notify(&[NotifyState::Status(&status), NotifyState::Custom(&extension(OPENING))]);
    report();
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            sleep(INTERVAL).await;
            report();
        }
    }))
}

/// Reports that the server serves requests.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Reports that the server reloads its files, until it is [`ready`] again.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the clock cannot be read"),
    }
}

/// Reports the number of connections, and the end of [`Phase::Serving`]. The server exits at most `grace` after that.
pub(super) async fn report(admission: Admission, mut phase: watch::Receiver<Phase>, grace: Duration) {
    let mut reported = None;
    loop {
        let open = admission.open();
        if reported.replace(open) != Some(open) {
            notify(&[NotifyState::Status(&format!("serving {open} connections"))]);
        }
        tokio::select! {
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => break,
            () = sleep(INTERVAL) => {}
        }
    }
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status(&format!("stopping; {} connections are open", admission.open())),
        NotifyState::Custom(&extension(grace + EXIT)),
    ]);
}

/// Reports that the server works, if the service manager has a watchdog: as long as the accept loop runs and the store answers.
///
/// A store that answers with an error is no reason for a restart, which would not repair it: without a restart, clients are
/// asked to retry. A store that does not answer at all may be a defect of the server.
pub(super) async fn watch(pulse: Pulse, readiness: Arc<Readiness>) {
    let Some(timeout) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut ticks = interval((timeout / 3).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !pulse.beats().await {
            return;
        }
        match readiness.check().await {
            Err(because) if because.hangs => {
                tracing::error!(
                    reason = because.message,
                    "the service manager restarts the server unless the store answers"
                );
            }
            _ => notify(&[NotifyState::Watchdog]),
        }
    }
}

fn extension(time: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", time.as_micros())
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be reached");
    }
}
