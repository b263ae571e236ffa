//! Answers the credentials probe, which KAZOO sends when an administrator saves the storage settings.

mod layer;
mod service;

pub use self::layer::AnswerProbe;
