//! Retention: removes the files that the [policy](crate::policy) deletes, and those of the documents that KAZOO has deleted.
//!
//! [`Ledger::plan`](crate::Ledger::plan) previews the deletions, and [`Recorded::retain`](crate::Recorded::retain) performs them.

mod due;
mod pace;
mod plan;
mod requests;
mod retain;

pub use self::{
    due::{Due, DueFile, Position},
    plan::{Plan, PlannedRule},
    requests::DeletionRequest,
    retain::Retained,
};
