//! The options of `events`.

use std::time::SystemTime;

use clap::{ArgGroup, Args, Subcommand, ValueEnum, builder::BoolishValueParser};

use super::{
    AdminClientOptions,
    values::{text, time_or_age},
};

#[derive(Args, Debug)]
pub(crate) struct EventsOptions {
    #[command(flatten)]
    pub(crate) server: AdminClientOptions,

    #[command(subcommand)]
    pub(crate) action: EventsAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsAction {
    /// List events that a receiver has not accepted, newest first
    List(ListOptions),
    /// Show an event: its file, and its state for each receiver
    Show {
        /// Id of the event
        id: String,
        /// Also show the id and the numbers of the call, and the metadata of the upload
        #[arg(long, value_parser = BoolishValueParser::new())]
        metadata: bool,
        /// Print the server's JSON
        #[arg(long, value_parser = BoolishValueParser::new())]
        json: bool,
    },
    /// Send events now that are dead or wait for their next attempt
    ///
    /// A dead event whose receiver already has a later event of the same file stays dead, because the receiver would mistake an old
    /// state of the file for the current one.
    Retry(RetryOptions),
    /// Remove events, so that they are not sent again
    ///
    /// The command shows them and asks for confirmation.
    Discard(DiscardOptions),
    /// Send `file.stored` for stored files, to a receiver that is new or has lost its data
    ///
    /// The events keep their ids, so a receiver that ignores repeats ignores the files that it already has. Events that wait are
    /// not queued twice. To continue an interrupted replay, pass the last position that it printed as `--since`.
    Replay(ReplayOptions),
    /// List the receivers of events, or remove one
    Receivers(ReceiversOptions),
}

#[derive(Args, Debug)]
pub(crate) struct ListOptions {
    /// Only events of this receiver, such as `webhook:crm`
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub(crate) receiver: Option<String>,

    /// Only events in this state
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<State>,

    /// Only events of the files of this account
    #[arg(long, value_name = "ID", value_parser = text)]
    pub(crate) account: Option<String>,

    /// Only events that were recorded at this time or later
    #[arg(long, value_name = "TIME", value_parser = time_or_age)]
    pub(crate) since: Option<SystemTime>,

    /// Maximum number of events; 0 means no limit
    #[arg(long, value_name = "NUMBER", default_value = "100")]
    pub(crate) limit: u64,

    /// List the oldest events first
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) oldest: bool,

    /// Print a JSON object for each event
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
}

/// The states of an event.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum State {
    /// The event is sent when its next attempt is due
    Waiting,
    /// The event is not sent again, unless by `events retry`
    Dead,
}

/// The events to retry or to discard.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("events").args(["ids", "dead"]).required(true))]
pub(crate) struct DeadOptions {
    /// Ids of events
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,

    /// All dead events
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) dead: bool,

    /// Only for this receiver
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub(crate) receiver: Option<String>,

    /// With `--dead`: only events of the files of this account
    #[arg(long, value_name = "ID", value_parser = text, requires = "dead")]
    pub(crate) account: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct RetryOptions {
    #[command(flatten)]
    pub(crate) events: DeadOptions,

    /// Also send dead events whose receiver already has a later event of the same file
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) superseded: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DiscardOptions {
    #[command(flatten)]
    pub(crate) events: DeadOptions,

    /// Remove them without asking for confirmation
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ReplayOptions {
    /// Only files that were stored at this time or later
    #[arg(long, value_name = "TIME", value_parser = time_or_age)]
    pub(crate) since: SystemTime,

    /// Only files that were stored before this time; by default, before now
    #[arg(long, value_name = "TIME", value_parser = time_or_age)]
    pub(crate) until: Option<SystemTime>,

    /// Only files of this account
    #[arg(long, value_name = "ID", value_parser = text)]
    pub(crate) account: Option<String>,

    /// Only to this receiver; by default, to every active one
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub(crate) receiver: Option<String>,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ReceiversOptions {
    #[command(subcommand)]
    pub(crate) action: Option<ReceiversAction>,

    /// Print a JSON object for each receiver
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReceiversAction {
    /// Remove a receiver that is no longer used, and its events
    Rm {
        /// Name of the receiver
        name: String,
        /// Remove it without asking for confirmation, even if it has events
        #[arg(long, value_parser = BoolishValueParser::new())]
        yes: bool,
    },
}
