//! The same functions as in `record` and `deliveries`, without the feature `metrics`: they do nothing.

use std::time::Duration;

use crate::event::EventKind;

pub(crate) fn changed(_: Duration) {}

pub(crate) fn committed(_: usize) {}

pub(crate) fn failed(_: &'static str) {}

pub(crate) fn recorded(_: EventKind) {}

pub(crate) fn suspended(_: bool) {}

pub(crate) fn retained(_: u64, _: u64) {}

pub(crate) fn near_quota(_: usize) {}

pub(crate) fn over_quota(_: u64) {}

#[cfg(any(feature = "amqp", feature = "webhooks"))]
#[derive(Debug)]
pub(crate) struct DeliveryCounts(());

#[cfg(any(feature = "amqp", feature = "webhooks"))]
#[allow(clippy::unused_self)]
impl DeliveryCounts {
    pub(crate) fn new(_: &str) -> Self {
        Self(())
    }

    pub(crate) fn answered(&self, _: Duration) {}

    pub(crate) fn delivered(&self) {}

    pub(crate) fn failed(&self) {}

    pub(crate) fn dead(&self) {}

    pub(crate) fn gone(&self) {}
}
