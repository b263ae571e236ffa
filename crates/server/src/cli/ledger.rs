//! [`LedgerLocation`]: the value of `--ledger`.

use std::str::FromStr;

use kazoo_storage_ledger::Location;

/// The database of the stored files, or none.
#[derive(Clone, Debug)]
pub(crate) enum LedgerLocation {
    None,
    At(Location),
}

impl FromStr for LedgerLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            _ => text
                .parse()
                .map(Self::At)
                .map_err(|error| format!("{error}; or `none`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_locations_and_none() {
        assert!(matches!("none".parse(), Ok(LedgerLocation::None)));
        for text in [
            "sqlite:/var/lib/ledger.sqlite",
            "postgres://kazoo:secret@127.0.0.1/ledger",
        ] {
            assert!(matches!(text.parse(), Ok(LedgerLocation::At(_))), "{text}");
        }
        for bad in ["", "sqlite:", "/var/lib/ledger.sqlite", "None", "mysql:x"] {
            let error = bad.parse::<LedgerLocation>().unwrap_err();
            assert!(error.contains("none"), "{bad}: {error}");
        }
    }
}
