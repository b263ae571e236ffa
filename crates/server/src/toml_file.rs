//! The files in TOML: the configuration and the policy. Their errors name the line.

use std::fmt;

use toml::de::DeTable;

/// Minimum similarity of a known key that an error suggests.
const SIMILAR: f64 = 0.8;

/// An error in a file.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) line: Option<usize>,
    pub(crate) message: String,
}

impl Fault {
    /// Creates the error of the byte `at` in `text`.
    pub(crate) fn new(text: &str, at: usize, message: impl Into<String>) -> Self {
        Self {
            line: Some(line(text, at)),
            message: message.into(),
        }
    }

    /// Adds the name of the file.
    pub(crate) fn named(self, file: impl fmt::Display) -> String {
        match self.line {
            Some(line) => format!("{file}:{line}: {}", self.message),
            None => format!("{file}: {}", self.message),
        }
    }
}

/// Parses `text`.
pub(crate) fn parse(text: &str) -> Result<DeTable<'_>, Fault> {
    // The error's own text quotes the line, which may contain a secret.
    let parsed = DeTable::parse(text).map_err(|error| Fault {
        line: error.span().map(|span| line(text, span.start)),
        message: error.message().to_owned(),
    })?;
    Ok(parsed.into_inner())
}

/// Returns the number of the line of the byte `at`.
pub(crate) fn line(text: &str, at: usize) -> usize {
    text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
}

/// Returns the one of `names` that was probably meant.
pub(crate) fn similar<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let similar = names.into_iter().map(|name| (strsim::jaro_winkler(text, name), name));
    let best = similar.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(similarity, _)| *similarity >= SIMILAR)
        .map(|(_, name)| name)
}
