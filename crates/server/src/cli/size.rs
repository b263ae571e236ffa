//! How many bytes, as the command line says it.

use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match text.get(digits.len()..).unwrap_or_default().trim_start() {
            "" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err("expected bytes, or a number with the suffix KiB, MiB or GiB"),
        };
        let number: u64 = digits
            .parse()
            .map_err(|_| "expected a whole number before the suffix")?;
        number.checked_mul(unit).map(Self).ok_or("too large")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let size = |text: &str| text.parse::<Size>().map(|Size(bytes)| bytes);
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("12345"), Ok(12345));
        assert_eq!(size("3KiB"), Ok(3 << 10));
        assert_eq!(size("20 MiB"), Ok(20 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        for bad in ["", "GiB", "-1", "1.5GiB", "1GB", "1kib", "1 2", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
