//! [`Receipt`]: the file that shows what was erased.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    time::SystemTime,
};

use serde_json::{Value, json};

use crate::admin_client::values::time;

/// A file with a line of JSON for the erasure, for each file, and for the totals.
pub(super) struct Receipt {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Receipt {
    /// Creates the file, which must not exist. Only its owner can read it.
    pub(super) fn create(path: PathBuf, subject: &Value) -> Result<Self, String> {
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = created.map_err(|error| format!("cannot create the receipt {}: {error}", path.display()))?;
        let mut receipt = Self {
            path,
            file: BufWriter::new(file),
        };
        receipt.add(&json!({"erasure": subject, "begun_at": time(SystemTime::now())}))?;
        Ok(receipt)
    }

    pub(super) fn add(&mut self, line: &Value) -> Result<(), String> {
        let mut line = line.clone();
        if let Some(fields) = line.as_object_mut() {
            fields.remove("done");
        }
        let written = writeln!(self.file, "{line}");
        written.map_err(|error| self.failed(&error))
    }

    /// Adds the totals, and waits until the file is durable.
    pub(super) fn complete(mut self, totals: &Value) -> Result<(), String> {
        let mut totals = totals.clone();
        if let Some(fields) = totals.as_object_mut() {
            fields.insert("ended_at".to_owned(), time(SystemTime::now()).into());
        }
        self.add(&totals)?;
        let flushed = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        flushed.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("cannot write the receipt {}: {error}", self.path.display())
    }
}
