//! Measurements at the places where something happens. Without the feature `metrics`, they do nothing.

#[cfg(all(feature = "metrics", any(feature = "amqp", feature = "webhooks")))]
mod deliveries;
#[cfg(feature = "metrics")]
pub(crate) mod names;
#[cfg(not(feature = "metrics"))]
mod nothing;
#[cfg(feature = "metrics")]
mod record;

#[cfg(all(feature = "metrics", any(feature = "amqp", feature = "webhooks")))]
pub(crate) use self::deliveries::DeliveryCounts;
#[cfg(not(feature = "metrics"))]
pub(crate) use self::nothing::*;
#[cfg(feature = "metrics")]
pub(crate) use self::record::*;
