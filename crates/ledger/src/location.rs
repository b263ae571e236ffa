//! [`Location`]: where a ledger is.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use kazoo_storage::{Error, ErrorKind, Result};

#[cfg(feature = "postgres")]
use crate::database::Address;

const EXPECTED: &str = "expected `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`";

/// The database of a ledger: `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE` with the feature `postgres`.
///
/// For a PostgreSQL on another machine, the URL must have `?sslmode=verify-full` or `?sslmode=disable`; `sslrootcert=FILE`
/// names the authorities to trust. Any other text is [`ErrorKind::InvalidRequest`].
///
/// `Display` and `Debug` show no password.
#[derive(Clone, Debug)]
pub struct Location(pub(crate) Place);

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(Box<Address>),
}

impl Location {
    /// The SQLite database in the file `path`.
    pub fn sqlite(path: impl AsRef<Path>) -> Self {
        Self(Place::Sqlite(path.as_ref().to_owned()))
    }

    /// Returns the file of a SQLite database.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Sqlite(path) => Some(path),
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => None,
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |message: &'static str| Err(Error::new(ErrorKind::InvalidRequest, message));
        match text.split_once(':') {
            Some(("sqlite", path)) if path.starts_with("//") => {
                invalid("expected `sqlite:PATH`, with the path directly after the colon")
            }
            Some(("sqlite", "" | ":memory:")) => invalid("expected `sqlite:PATH`, the path of a file"),
            Some(("sqlite", path)) => Ok(Self::sqlite(path)),
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Address::parse(text).map(|address| Self(Place::Postgres(Box::new(address))))
            }
            #[cfg(not(feature = "postgres"))]
            Some(("postgres" | "postgresql", _)) => invalid(
                "this program was built without PostgreSQL: enable the feature `postgres`, or use `sqlite:PATH`",
            ),
            _ => invalid(EXPECTED),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => address.fmt(f),
        }
    }
}
