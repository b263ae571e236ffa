//! The file of `--policy`.
//!
//! [`reader`] reads its tables, and [`quota`] the quotas. The server reads the file when it starts, and the operator may preview another
//! one.

mod quota;
mod reader;

use std::path::Path;

use kazoo_storage_ledger::{policy::Policy, quota::Quotas};

pub(crate) use self::reader::DAY;
use self::reader::Reader;
use crate::{flag_file, toml_file::Fault};

/// The content of the file.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) retention: Policy,
    pub(crate) quotas: Quotas,
    /// The number of days for which the entries of the audit trail are kept. `None` keeps them forever.
    pub(crate) audit_days: Option<u32>,
}

/// Reads the policy in `file`. The error names the file, the line and the key.
pub(crate) fn read(file: &Path) -> Result<Content, String> {
    read_with_text(file).map(|(content, _)| content)
}

/// Reads the policy in `file` as [`read`] does, and returns its text, too.
pub(crate) fn read_with_text(file: &Path) -> Result<(Content, String), String> {
    let text = flag_file::read_text("--policy", file)?;
    match parse(&text) {
        Ok(content) => Ok((content, text)),
        Err(fault) => Err(fault.named(format_args!("--policy {}", file.display()))),
    }
}

/// Parses the text of a policy.
pub(crate) fn parse(text: &str) -> Result<Content, Fault> {
    Reader(text).content()
}
