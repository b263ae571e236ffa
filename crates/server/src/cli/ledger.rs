//! [`LedgerLocation`]: the value of `--ledger`.

use std::{fmt, path::PathBuf, str::FromStr};

/// The database of the stored files, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LedgerLocation {
    None,
    Sqlite(PathBuf),
}

impl FromStr for LedgerLocation {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err("expected sqlite:PATH, a file on a local disk, or none"),
        }
    }
}

impl fmt::Display for LedgerLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_its_own_output_and_nothing_else() {
        for text in ["none", "sqlite:/var/lib/ledger.sqlite", "sqlite:a:b"] {
            assert_eq!(text.parse::<LedgerLocation>().unwrap().to_string(), text);
        }
        for bad in ["", "sqlite:", "sqlite", "/var/lib/ledger.sqlite", "None", "mysql:x"] {
            assert!(bad.parse::<LedgerLocation>().is_err(), "{bad}");
        }
    }
}
