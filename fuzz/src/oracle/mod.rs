//! The expected results, computed from complete input in the simplest way. The tests in `tests/` use these modules too.

mod base64;
pub mod forwarded;
mod key;
mod multipart;
mod request;

pub use self::{base64::*, key::*, multipart::*, request::*};
