//! The operator's API, and the command `events`.

mod api;
mod command;
mod guard;
mod schema;
pub(crate) mod site;
