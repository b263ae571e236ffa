//! The removal of files, in three steps: [`Recorded`](crate::Recorded) records the intent, unless the file is protected; it removes the
//! file from the store; and it removes the row and the intent, and records the event. After a crash,
//! [`Recorded::finish_removals`](crate::Recorded::finish_removals) finishes the removals that were interrupted.

mod cause;
mod delete;
mod erasure;
mod recovery;
mod remove;
mod statements;

pub use self::{
    cause::Cause,
    erasure::{Erased, Erasure, Kept, Subject},
    remove::Removal,
};
