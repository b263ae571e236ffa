//! The events that were not delivered yet, for the operator: what waits, what is dead, and what to do with it.

mod backlog;
mod batches;
mod conditions;
mod dead;
mod discard;
mod receivers;
mod replay;
mod retry;

pub use self::{
    backlog::{Backlog, EventState, Undelivered},
    dead::Dead,
    receivers::ReceiverStatus,
    replay::{Replay, Replayed},
    retry::Retried,
};
