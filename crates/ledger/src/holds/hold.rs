//! [`Hold`]: keeps files.

use std::{fmt, time::SystemTime};

use kazoo_storage::{BlobKey, Error, ErrorKind, Result};
use uuid::Uuid;

use crate::{
    database::{Row, Statement, statement},
    rows::{decode, encode},
    time,
};

/// Maximum length of the author and of a condition, in bytes.
const MAX_FIELD: usize = 255;

/// Maximum length of the reason, in bytes.
const MAX_REASON: usize = 1000;

/// The columns of `holds` that [`Hold::read`] reads, after `$table`.
macro_rules! columns {
    ($table:literal) => {
        concat!(
            $table,
            "id, ",
            $table,
            "reason, ",
            $table,
            "author, ",
            $table,
            "created_at, ",
            $table,
            "account, ",
            $table,
            "document, ",
            $table,
            "key, ",
            $table,
            "number, ",
            $table,
            "call_id, ",
            $table,
            "since, ",
            $table,
            "until"
        )
    };
}
pub(crate) use columns;

/// The condition that the hold `h` keeps the file `f`. [`Hold::may_keep`] must return `true` for each such file: otherwise an upload
/// replaces it.
macro_rules! keeps {
    () => {
        "(h.account IS NULL OR h.account = f.account) \
            AND (h.document IS NULL OR h.document = f.document) \
            AND (h.key IS NULL OR h.key = f.key) \
            AND (h.number IS NULL OR h.number = f.caller_number OR h.number = f.callee_number) \
            AND (h.call_id IS NULL OR h.call_id = f.call_id) \
            AND (h.since IS NULL OR f.stored_at >= h.since) \
            AND (h.until IS NULL OR f.stored_at < h.until)"
    };
}
pub(crate) use keeps;

/// Keeps the files that satisfy all its conditions. A condition that is `None` is satisfied by every file.
///
/// `Debug` shows neither the reason nor the conditions.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hold {
    /// A UUID.
    pub id: String,
    /// The reason, such as the number of a case.
    pub reason: String,
    /// The person who added the hold.
    pub author: String,
    /// The time at which the hold was added.
    pub created_at: SystemTime,
    /// The account of the files.
    pub account: Option<String>,
    /// The document that the files are attached to.
    pub document: Option<String>,
    /// The key of the file.
    pub key: Option<BlobKey>,
    /// The number of the caller or of the callee.
    pub number: Option<String>,
    /// The id of the call.
    pub call_id: Option<String>,
    /// Files that were stored at this time or later.
    pub since: Option<SystemTime>,
    /// Files that were stored before this time.
    pub until: Option<SystemTime>,
}

impl Hold {
    /// Returns `true` if the hold keeps the file under `key`, or may keep it, depending on the rest of its record. An upload reads the
    /// record only then, and applies [`keeps!`].
    pub(crate) fn may_keep(&self, key: &BlobKey) -> bool {
        let is = |condition: &Option<String>, found| condition.is_none() || condition.as_deref() == found;
        is(&self.account, key.account_id())
            && is(&self.document, key.document_id())
            && self.key.as_ref().is_none_or(|expected| expected == key)
    }

    pub(crate) fn insert(&self) -> Statement {
        const SQL: &str = "INSERT INTO holds \
            (id, reason, author, created_at, account, document, key, number, call_id, since, until) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
        statement!(
            SQL,
            &*self.id,
            &*self.reason,
            &*self.author,
            time::to_millis(self.created_at),
            self.account.as_deref(),
            self.document.as_deref(),
            self.key.as_ref().map(encode),
            self.number.as_deref(),
            self.call_id.as_deref(),
            self.since.map(time::to_millis),
            self.until.map(time::to_millis),
        )
    }

    /// Reads a row of [`columns!`].
    pub(crate) fn read(mut row: Row) -> Result<Self> {
        Ok(Self {
            id: row.text()?,
            reason: row.text()?,
            author: row.text()?,
            created_at: time::from_millis(row.integer()?),
            account: row.optional_text()?,
            document: row.optional_text()?,
            key: row.optional_text()?.map(|key| decode(&key)).transpose()?,
            number: row.optional_text()?,
            call_id: row.optional_text()?,
            since: row.optional_integer()?.map(time::from_millis),
            until: row.optional_integer()?.map(time::from_millis),
        })
    }

    fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidRequest, message));
        for (name, text, max) in [
            ("reason", Some(&self.reason), MAX_REASON),
            ("author", Some(&self.author), MAX_FIELD),
            ("account", self.account.as_ref(), MAX_FIELD),
            ("document", self.document.as_ref(), MAX_FIELD),
            ("number", self.number.as_ref(), MAX_FIELD),
            ("call_id", self.call_id.as_ref(), MAX_FIELD),
        ] {
            if text.is_some_and(|text| text.trim().is_empty() || text.len() > max || text.chars().any(char::is_control))
            {
                return invalid(format!(
                    "the {name} of a hold must be 1 to {max} bytes, without control characters"
                ));
            }
        }
        if self.document.is_some() && self.account.is_none() {
            return invalid("a hold with a document needs its account".to_owned());
        }
        let has_condition = self.account.is_some()
            || self.key.is_some()
            || self.number.is_some()
            || self.call_id.is_some()
            || self.since.is_some()
            || self.until.is_some();
        if !has_condition {
            return invalid("a hold needs a condition; without one, it would keep every file".to_owned());
        }
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            return invalid("a hold whose `since` is not before its `until` would keep no file".to_owned());
        }
        Ok(())
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A hold to [add](crate::Ledger::add_hold). A file must satisfy all of its conditions, and there must be at least one.
#[derive(Clone, Debug)]
#[must_use]
pub struct NewHold(Hold);

/// The result of [`Ledger::add_hold`](crate::Ledger::add_hold).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AddedHold {
    /// The hold.
    pub hold: Hold,
    /// The files, at most 1000, whose removal began before the hold, and which are gone.
    pub removed: Vec<BlobKey>,
    /// The number of files in the ledger that the hold keeps, at most 1000. `None` if they cannot be counted at present.
    pub files: Option<usize>,
    /// `false` if a removal or an upload that began before the hold has not ended within 20 seconds. It may still remove or
    /// replace a file.
    pub is_settled: bool,
}

impl NewHold {
    /// Creates a hold for this reason, added by this person. It needs at least one condition.
    pub fn new(reason: impl Into<String>, author: impl Into<String>) -> Self {
        Self(Hold {
            id: Uuid::now_v7().to_string(),
            reason: reason.into(),
            author: author.into(),
            // The ledger has milliseconds.
            created_at: time::from_millis(time::now()),
            account: None,
            document: None,
            key: None,
            number: None,
            call_id: None,
            since: None,
            until: None,
        })
    }

    /// Keeps the files of this account.
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.0.account = Some(account.into());
        self
    }

    /// Keeps the files that are attached to this document; needs the account.
    pub fn document(mut self, document: impl Into<String>) -> Self {
        self.0.document = Some(document.into());
        self
    }

    /// Keeps the file under this key.
    pub fn key(mut self, key: &BlobKey) -> Self {
        self.0.key = Some(key.detached());
        self
    }

    /// Keeps the files whose caller or callee has this number.
    pub fn number(mut self, number: impl Into<String>) -> Self {
        self.0.number = Some(number.into());
        self
    }

    /// Keeps the files of the call with this id.
    pub fn call_id(mut self, id: impl Into<String>) -> Self {
        self.0.call_id = Some(id.into());
        self
    }

    /// Keeps the files that were stored at this time or later.
    pub fn since(mut self, time: SystemTime) -> Self {
        self.0.since = Some(time);
        self
    }

    /// Keeps the files that were stored before this time.
    pub fn until(mut self, time: SystemTime) -> Self {
        self.0.until = Some(time);
        self
    }

    /// Returns the hold, if it is valid.
    pub(crate) fn checked(self) -> Result<Hold> {
        self.0.check()?;
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params_from_iter};

    use super::*;
    use crate::{
        database::{Engine, MIGRATIONS},
        file::FileRecord,
        record,
    };

    #[test]
    fn an_upload_looks_for_each_hold_that_keeps_its_file() {
        const KEPT: &str = concat!("SELECT count(*) FROM files f CROSS JOIN holds h WHERE ", keeps!());
        let connection = Connection::open_in_memory().unwrap();
        for schema in MIGRATIONS {
            connection.execute_batch(schema).unwrap();
        }
        let run = |statement: Statement| {
            connection
                .execute(&statement.sql, params_from_iter(statement.parameters))
                .unwrap()
        };
        let paths = ["A/D/f", "A/O/D/f", "A/D2/f", "B/D/f", "A/f", "f", "A/O/D/too/deep/f"];
        let keys = paths.map(|path| BlobKey::from_path(path).unwrap());
        let mut found = 0;
        for key in &keys {
            run(record::store(Engine::Sqlite, &FileRecord::new(key, 3, None), "event").remove(0));
            for (account, document) in [
                (None, None),
                (Some("A"), None),
                (Some("A"), Some("D")),
                (Some("B"), Some("D")),
            ] {
                for held in keys.iter().map(Some).chain([None]) {
                    let mut hold = NewHold::new("reason", "author").0;
                    (hold.account, hold.document) = (account.map(str::to_owned), document.map(str::to_owned));
                    hold.key = held.cloned();
                    run(hold.insert());
                    let kept: i64 = connection.query_row(KEPT, [], |row| row.get(0)).unwrap();
                    assert!(
                        kept == 0 || hold.may_keep(key),
                        "{key:?} {account:?} {document:?} {held:?}"
                    );
                    found += kept;
                    connection.execute_batch("DELETE FROM holds").unwrap();
                }
            }
            connection.execute_batch("DELETE FROM files").unwrap();
        }
        assert!(found > 20, "only {found} holds keep a file");
    }
}
