//! Reads the quotas of a policy.

use kazoo_storage_ledger::quota::{Quota, Quotas};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::reader::Reader;
use crate::{cli, toml_file::Fault};

impl<'a> Reader<'a> {
    /// Adds the quota of the table `value`.
    pub(super) fn add_quota(&self, quotas: Quotas, value: &Spanned<DeValue<'a>>) -> Result<Quotas, Fault> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.fault(value, "`quota` is a list of tables: write `[[quota]]` above each quota"));
        };
        self.check_keys("quota", table)?;
        let mut quota = match self.account(table, "a quota of each account")? {
            Some(account) => Quota::of(account),
            None => Quota::of_each_account(),
        };
        if let Some(bytes) = self.bytes(table, "bytes")? {
            quota = quota.bytes(bytes);
        }
        if let Some(files) = self.files(table, "files")? {
            quota = quota.files(files);
        }
        quotas.quota(quota).map_err(|error| self.fault(value, error.message()))
    }

    /// Returns the number of bytes of a key, which is a number or has a unit.
    fn bytes(&self, table: &DeTable<'a>, key: &str) -> Result<Option<u64>, Fault> {
        let Some(value) = table.get(key) else { return Ok(None) };
        let size = match value.get_ref() {
            DeValue::String(text) => cli::nonzero_size(text).map(|size| size.as_u64()),
            other => number(other).ok_or("expected a size such as \"10GiB\", or a number of bytes, at least 1"),
        };
        size.map(Some)
            .map_err(|error| self.fault(value, format!("`{key}`: {error}")))
    }

    /// Returns the number of files of a key.
    fn files(&self, table: &DeTable<'a>, key: &str) -> Result<Option<u64>, Fault> {
        let Some(value) = table.get(key) else { return Ok(None) };
        match number(value.get_ref()) {
            Some(files) => Ok(Some(files)),
            None => Err(self.fault(value, format!("`{key}` must be a number, at least 1"))),
        }
    }
}

/// Returns a number that is at least 1.
fn number(value: &DeValue<'_>) -> Option<u64> {
    let DeValue::Integer(number) = value else { return None };
    let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
    number.filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quotas() {
        let text = "[[quota]]\nbytes = '10GiB'\n[[quota]]\naccount = 'A'\nfiles = 1_000\nbytes = 5000\n";
        let each = Quota::of_each_account().bytes(10 << 30);
        let one = Quota::of("A").files(1000).bytes(5000);
        let expected = Quotas::new().quota(each).unwrap().quota(one).unwrap();
        assert_eq!(Reader(text).content().unwrap().quotas, expected);
        assert_eq!(Reader("").content().unwrap().quotas, Quotas::new());
    }

    #[test]
    fn an_error_names_the_line_and_the_key() {
        for (text, expected) in [
            (
                "[quota]\nbytes = 1",
                "1: `quota` is a list: write `[[quota]]` above each quota",
            ),
            ("quota = [1]", "1: `quota` is a list of tables"),
            ("[[quota]]\nbyte = 1", "2: unknown key `byte`; is it `bytes`?"),
            (
                "[[quota]]\nx = 1",
                "2: unknown key `x`; the keys are `account`, `bytes`, `files`",
            ),
            (
                "\n[[quota]]\naccount = 'A'",
                "2: the quota limits nothing; set `bytes`, `files` or both",
            ),
            (
                "[[quota]]\naccount = ''",
                "2: `account` is blank; leave it out for a quota",
            ),
            (
                "[[quota]]\n\naccount = 'a/b'",
                "3: `account` is not the id of an account",
            ),
            (
                "[[quota]]\naccount = '0C8F1C4AB2D9E3F70C8F1C4AB2D9E3F7'",
                "2: `account`: write the id in lower case, `0c8f",
            ),
            ("[[quota]]\naccount = 1", "2: `account` must be a string"),
            ("[[quota]]\n\nbytes = 0", "3: `bytes`: expected a size"),
            ("[[quota]]\nbytes = '0'", "2: `bytes`: expected at least 1 byte"),
            ("[[quota]]\nbytes = 'much'", "2: `bytes`: expected a size"),
            ("[[quota]]\nbytes = -1", "2: `bytes`: expected a size"),
            ("[[quota]]\nfiles = 0", "2: `files` must be a number, at least 1"),
            ("[[quota]]\nfiles = '1'", "2: `files` must be a number, at least 1"),
            (
                "[[quota]]\nfiles = 1\n[[quota]]\nbytes = 1",
                "3: another quota has no account either; remove one of them",
            ),
            (
                "[[quota]]\nfiles = 1\naccount = 'A'\n[[quota]]\naccount = 'A'\nbytes = 1",
                "4: another quota has the same account; remove one of them",
            ),
        ] {
            let fault = Reader(text).content().unwrap_err();
            let shown = format!("{}: {}", fault.line.unwrap_or_default(), fault.message);
            assert!(shown.starts_with(expected), "{text}: {shown}");
        }
    }
}
