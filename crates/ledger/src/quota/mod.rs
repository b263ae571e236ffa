//! Quotas: limits of the files of an account.
//!
//! [`Limited`] wraps a store, such as a [`Recorded`](crate::Recorded) one, and refuses uploads of an account that has used its
//! [`Quota`].

mod rules;
mod store;
mod totals;

pub use self::{
    rules::{Quota, Quotas},
    store::Limited,
};
