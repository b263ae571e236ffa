//! Undelivered events, for the operator: listing, retry, discard and replay.
//!
//! The methods are those of [`Ledger`](crate::Ledger):
//!
//! | method | effect |
//! | --- | --- |
//! | [`backlog`](crate::Ledger::backlog), [`event`](crate::Ledger::event) | return the events that receivers have not acknowledged |
//! | [`retry`](crate::Ledger::retry), [`discard`](crate::Ledger::discard) | send the events of a [`Selection`] again, or remove them |
//! | [`replay`](crate::Ledger::replay) | queues the events of stored files again |
//! | [`receivers`](crate::Ledger::receivers), [`receiver`](crate::Ledger::receiver), [`remove_receiver`](crate::Ledger::remove_receiver) | show and remove receivers |

mod backlog;
mod batches;
mod conditions;
mod discard;
mod receivers;
mod replay;
mod retry;
mod selection;

pub use self::{
    backlog::{Backlog, EventState, Undelivered},
    receivers::{ReceiverKind, ReceiverState, ReceiverStatus},
    replay::{Replay, Replayed},
    retry::Retried,
    selection::Selection,
};
