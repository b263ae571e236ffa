//! Undelivered events, for the operator: listing, retry, discard and replay.

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
