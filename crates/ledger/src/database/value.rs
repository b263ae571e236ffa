//! [`Statement`], with its parameters, and [`Row`], its result.

use std::{borrow::Cow, fmt, ops::Deref};

use bytes::Bytes;
use kazoo_storage::{Error, ErrorKind, Result};
use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef},
};

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Text(String),
    /// A long text in UTF-8, not copied.
    Shared(Bytes),
    Bytes(Vec<u8>),
}

/// A statement and its parameters `$1`, `$2`, …, which first occur in this order.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sql: Sql,
    pub(crate) parameters: Vec<Value>,
}

/// The text of a statement.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    pub(crate) text: Cow<'static, str>,
    /// A query that returns no row when the statement changes nothing. SQLite runs it first: a statement that adds no row takes
    /// nearly as long as one that adds a row.
    pub(crate) guard: Option<&'static str>,
}

impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        Self {
            text: text.into(),
            guard: None,
        }
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self {
            text: text.into(),
            guard: None,
        }
    }
}

impl Deref for Sql {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Creates a [`Statement`] from its text and its parameters.
macro_rules! statement {
    ($sql:expr $(, $parameter:expr)* $(,)?) => {
        $crate::database::Statement {
            sql: $crate::database::Sql::from($sql),
            parameters: vec![$($crate::database::Value::from($parameter)),*],
        }
    };
}
pub(crate) use statement;

/// The columns of a row, taken in order.
#[derive(Debug)]
pub(crate) struct Row(std::vec::IntoIter<Value>);

impl Row {
    pub(super) fn new(columns: Vec<Value>) -> Self {
        Self(columns.into_iter())
    }

    pub(crate) fn integer(&mut self) -> Result<i64> {
        match self.0.next() {
            Some(Value::Integer(number)) => Ok(number),
            other => Err(unexpected("an integer", other.as_ref())),
        }
    }

    pub(crate) fn optional_integer(&mut self) -> Result<Option<i64>> {
        match self.0.next() {
            Some(Value::Integer(number)) => Ok(Some(number)),
            Some(Value::Null) => Ok(None),
            other => Err(unexpected("an integer", other.as_ref())),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        self.optional_text()?.ok_or_else(|| unexpected("a text", None))
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<String>> {
        match self.0.next() {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            other => Err(unexpected("a text", other.as_ref())),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>> {
        self.optional_bytes()?.ok_or_else(|| unexpected("bytes", None))
    }

    pub(crate) fn optional_bytes(&mut self) -> Result<Option<Vec<u8>>> {
        match self.0.next() {
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Value::Null) => Ok(None),
            other => Err(unexpected("bytes", other.as_ref())),
        }
    }
}

/// The value itself may be a number of a caller, and stays out of the error.
fn unexpected(expected: &str, found: Option<&Value>) -> Error {
    let found = match found {
        None => "nothing",
        Some(Value::Null) => "NULL",
        Some(Value::Integer(_)) => "an integer",
        Some(Value::Text(_) | Value::Shared(_)) => "a text",
        Some(Value::Bytes(_)) => "bytes",
    };
    let message = format!("a row of the ledger has {found} in place of {expected}; something else has changed it");
    Error::new(ErrorKind::Damaged, message)
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Bytes> for Value {
    fn from(text: Bytes) -> Self {
        Self::Shared(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Shared(text) => ValueRef::Text(text),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl FromSql for Value {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            // The ledger has no column of this type; the row reports it.
            ValueRef::Real(number) => Self::Text(number.to_string()),
            // A text that something else has damaged must not hide the other rows.
            ValueRef::Text(text) => match str::from_utf8(text) {
                Ok(text) => Self::Text(text.to_owned()),
                Err(_) => Self::Bytes(text.to_owned()),
            },
            ValueRef::Blob(bytes) => Self::Bytes(bytes.to_owned()),
        })
    }
}
