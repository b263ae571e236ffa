//! The program `kazoo-storage`, run as its users run it: over sockets, with signals, on a directory.
#![cfg(unix)]
// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod admin;
mod audit;
mod check;
mod config;
mod copy;
mod deliveries;
mod deliveries_hostile;
mod deliveries_tls;
mod events;
mod files;
mod flag_file;
mod framing;
mod health;
mod kazoo;
mod ledger;
mod ledger_metrics;
mod limits;
mod mount;
mod packaging;
mod parameters;
mod plan;
mod privacy;
mod process;
mod reload;
mod retention;
mod scrub;
mod secrets;
mod server;
mod shutdown;
mod startup;
mod systemd;
mod versions;
