//! [`Reader`]: reads the tables of a policy.

use std::time::Duration;

use kazoo_storage::kazoo_id;
use kazoo_storage_ledger::policy::{Policy, Rule};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Content;
use crate::{
    file_kind::FileKind,
    toml_file::{self, Fault},
};

/// The seconds of a day.
pub(crate) const DAY: u64 = 86_400;

/// The tables of the file, and the keys of each.
const TABLES: [(&str, &[&str]); 4] = [
    ("retention", &["kind", "account", "days", "floor_days"]),
    ("deletion", &["grace_days"]),
    ("quota", &["account", "bytes", "files"]),
    ("audit", &["keep_days"]),
];

/// Maximum number of days: ten centuries. More is a mistake.
const MAX_DAYS: u32 = 365_000;

/// The text of the file, in which errors have their lines.
pub(super) struct Reader<'a>(pub(super) &'a str);

impl<'a> Reader<'a> {
    pub(super) fn content(&self) -> Result<Content, Fault> {
        let mut content = Content::default();
        let mut tables: Vec<_> = toml_file::parse(self.0)?.into_iter().collect();
        // Errors appear in the order of the file.
        tables.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in tables {
            match (&**name.get_ref(), value.get_ref()) {
                ("retention", DeValue::Array(rules)) => {
                    for rule in rules {
                        content.retention = self.add_rule(content.retention, rule)?;
                    }
                }
                ("retention", _) => {
                    return Err(self.fault(&name, "`retention` is a list: write `[[retention]]` above each rule"));
                }
                ("deletion", DeValue::Table(table)) => {
                    self.check_keys("deletion", table)?;
                    if let Some(days) = self.days(table, "grace_days", 0)? {
                        content.retention = content.retention.grace(Duration::from_secs(u64::from(days) * DAY));
                    }
                }
                ("quota", DeValue::Array(quotas)) => {
                    for quota in quotas {
                        content.quotas = self.add_quota(content.quotas, quota)?;
                    }
                }
                ("quota", _) => {
                    return Err(self.fault(&name, "`quota` is a list: write `[[quota]]` above each quota"));
                }
                ("audit", DeValue::Table(table)) => {
                    self.check_keys("audit", table)?;
                    content.audit_days = self.days(table, "keep_days", 1)?;
                }
                (table @ ("deletion" | "audit"), _) => {
                    return Err(self.fault(&name, format!("`{table}` is a table: write `[{table}]`")));
                }
                (unknown, _) => {
                    let names = TABLES.map(|(name, _)| name);
                    return Err(self.unknown(&name, unknown, &names));
                }
            }
        }
        Ok(content)
    }

    fn add_rule(&self, policy: Policy, value: &Spanned<DeValue<'a>>) -> Result<Policy, Fault> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.fault(
                value,
                "`retention` is a list of tables: write `[[retention]]` above each rule",
            ));
        };
        self.check_keys("retention", table)?;
        let mut rule = Rule::new();
        if let Some((kind, value)) = self.text(table, "kind")? {
            let names = FileKind::ALL.map(FileKind::name);
            let known = FileKind::from_name(kind).ok_or_else(|| {
                let meant = toml_file::similar(kind, names).map_or_else(
                    || format!("the kinds are {}", names.map(|name| format!("`{name}`")).join(", ")),
                    |name| format!("is it `{name}`?"),
                );
                self.fault(value, format!("`kind`: unknown kind `{kind}`; {meant}"))
            })?;
            rule = rule.kind(known.attachment());
        }
        if let Some(account) = self.account(table, "a rule of every account")? {
            rule = rule.account(account);
        }
        if let Some(days) = self.days(table, "days", 1)? {
            rule = rule.days(days);
        }
        if let Some(days) = self.days(table, "floor_days", 1)? {
            rule = rule.floor_days(days);
        }
        policy.rule(rule).map_err(|error| self.fault(value, error.message()))
    }

    /// Refuses the keys of `table` that the table `name` does not have.
    pub(super) fn check_keys(&self, name: &str, table: &DeTable<'a>) -> Result<(), Fault> {
        let known = TABLES.iter().find(|(table, _)| *table == name);
        let known = known.map(|(_, keys)| *keys).unwrap_or_default();
        let mut unknown: Vec<_> = table.keys().filter(|key| !known.contains(&&**key.get_ref())).collect();
        unknown.sort_by_key(|key| key.span().start);
        match unknown.first() {
            Some(key) => Err(self.unknown(key, key.get_ref(), known)),
            None => Ok(()),
        }
    }

    fn unknown<T>(&self, place: &Spanned<T>, key: &str, known: &[&str]) -> Fault {
        let meant = toml_file::similar(&key.replace('-', "_"), known.iter().copied()).map_or_else(
            || {
                let known: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
                format!("the keys are {}", known.join(", "))
            },
            |name| format!("is it `{name}`?"),
        );
        self.fault(place, format!("unknown key `{key}`; {meant}"))
    }

    /// Returns the text of a key, and its value.
    pub(super) fn text<'t>(
        &self,
        table: &'t DeTable<'a>,
        key: &str,
    ) -> Result<Option<(&'t str, &'t Spanned<DeValue<'a>>)>, Fault> {
        let Some(value) = table.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(text) => Ok(Some((text, value))),
            _ => Err(self.fault(value, format!("`{key}` must be a string"))),
        }
    }

    /// Returns the id of the account in `table`. Without one, the table is `otherwise`. A typo would match no file, silently.
    pub(super) fn account<'t>(&self, table: &'t DeTable<'a>, otherwise: &str) -> Result<Option<&'t str>, Fault> {
        let Some((account, value)) = self.text(table, "account")? else {
            return Ok(None);
        };
        let lower = account.to_ascii_lowercase();
        let message = if account.trim().is_empty() {
            format!("`account` is blank; leave it out for {otherwise}")
        } else if account.trim() != account || account.contains(|c: char| c == '/' || c.is_control()) {
            "`account` is not the id of an account: it contains a slash or a control character, or begins or ends with a space".to_owned()
        } else if lower != account && kazoo_id::is_id(&lower) {
            format!("`account`: write the id in lower case, `{lower}`")
        } else {
            return Ok(Some(account));
        };
        Err(self.fault(value, message))
    }

    /// Returns the number of days of a key, at least `least`.
    fn days(&self, table: &DeTable<'a>, key: &str, least: u32) -> Result<Option<u32>, Fault> {
        let Some(value) = table.get(key) else { return Ok(None) };
        let number = match value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let days = number.and_then(|number| u32::try_from(number).ok());
        match days.filter(|days| (least..=MAX_DAYS).contains(days)) {
            Some(days) => Ok(Some(days)),
            None => Err(self.fault(
                value,
                format!("`{key}` must be a number of days from {least} to {MAX_DAYS}"),
            )),
        }
    }

    pub(super) fn fault<T>(&self, place: &Spanned<T>, message: impl Into<String>) -> Fault {
        Fault::new(self.0, place.span().start, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rules_and_the_grace_period() {
        let text = "[deletion]\ngrace_days = 0\n\n[[retention]]\ndays = 365\n[[retention]]\nkind = 'fax'\naccount = 'A'\n\
                    days = 2_555\nfloor_days = 1825\n[[retention]]\nkind = 'other'\n";
        let policy = Reader(text).content().unwrap().retention;
        let rules: Vec<_> = policy
            .rules()
            .iter()
            .map(|rule| {
                (
                    rule.account_id(),
                    rule.kind_name(),
                    rule.deletes_after(),
                    rule.protects_for(),
                )
            })
            .collect();
        assert_eq!(
            rules,
            [
                (None, None, Some(365), None),
                (Some("A"), Some("fax"), Some(2555), Some(1825)),
                (None, Some("other"), None, None)
            ]
        );
        assert!(Reader("").content().unwrap().retention.rules().is_empty());
    }

    #[test]
    fn an_error_names_the_line_and_what_was_meant() {
        for (text, expected) in [
            ("[[retentoin]]\n", "1: unknown key `retentoin`; is it `retention`?"),
            (
                "[x]\n",
                "1: unknown key `x`; the keys are `retention`, `deletion`, `quota`, `audit`",
            ),
            ("\n[retention]\ndays = 1", "2: `retention` is a list"),
            ("retention = [1]", "1: `retention` is a list of tables"),
            ("deletion = 1", "1: `deletion` is a table"),
            ("[[audit]]\nkeep_days = 1", "1: `audit` is a table: write `[audit]`"),
            (
                "[audit]\nkeep-days = 1",
                "2: unknown key `keep-days`; is it `keep_days`?",
            ),
            (
                "[audit]\nkeep_days = 0",
                "2: `keep_days` must be a number of days from 1",
            ),
            (
                "[[retention]]\nfloor-days = 1",
                "2: unknown key `floor-days`; is it `floor_days`?",
            ),
            (
                "[[retention]]\ndays = 1\nweeks = 1",
                "3: unknown key `weeks`; the keys are `kind`",
            ),
            ("[deletion]\ndays = 1", "2: unknown key `days`; "),
            (
                "[[retention]]\n\ndays = -1",
                "3: `days` must be a number of days from 1",
            ),
            ("[[retention]]\ndays = 0", "2: `days` must be a number of days from 1"),
            ("[[retention]]\ndays = '30'", "2: `days` must be a number"),
            ("[[retention]]\ndays = 365001", "2: `days` must be a number"),
            ("[[retention]]\nfloor_days = 1.5", "2: `floor_days` must be a number"),
            (
                "[deletion]\ngrace_days = -1",
                "2: `grace_days` must be a number of days from 0",
            ),
            (
                "[[retention]]\nkind = 'faxes'",
                "2: `kind`: unknown kind `faxes`; is it `fax`?",
            ),
            (
                "[[retention]]\nkind = 'x'",
                "2: `kind`: unknown kind `x`; the kinds are `voicemail`",
            ),
            ("[[retention]]\nkind = 1", "2: `kind` must be a string"),
            (
                "[[retention]]\naccount = ''",
                "2: `account` is blank; leave it out for a rule",
            ),
            ("[[retention]]\naccount = '  '", "2: `account` is blank"),
            (
                "[[retention]]\n\naccount = 'a/b'",
                "3: `account` is not the id of an account",
            ),
            (
                "[[retention]]\naccount = 'a '",
                "2: `account` is not the id of an account",
            ),
            (
                "[[retention]]\naccount = \"a\\u0000\"",
                "2: `account` is not the id of an account",
            ),
            (
                "[[retention]]\naccount = '0C8F1C4AB2D9E3F70c8f1c4ab2d9e3f7'",
                "2: `account`: write the id in lower case, `0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7`",
            ),
            (
                "\n[[retention]]\ndays = 1\nfloor_days = 2",
                "2: `floor_days` is 2, more than `days`, which is 1",
            ),
            (
                "[[retention]]\nkind = 'fax'\n[[retention]]\ndays = 1\n[[retention]]\nkind = 'fax'\ndays = 2",
                "5: another rule has the same conditions: kind fax",
            ),
            ("[[retention]]\ndays = 1\ndays = 2", "3: duplicate key"),
            ("[[retention]", "1: "),
        ] {
            let fault = Reader(text).content().unwrap_err();
            let shown = format!("{}: {}", fault.line.unwrap_or_default(), fault.message);
            assert!(shown.starts_with(expected), "{text}: {shown}");
        }
    }

    #[test]
    fn the_page_has_valid_policies() {
        let page = include_str!("../../../../docs/retention.md");
        let blocks: Vec<_> = page.split("```toml").skip(1).collect();
        assert!(blocks.len() > 4);
        for block in blocks {
            let (_, rest) = block.split_once('\n').unwrap();
            let (text, _) = rest.split_once("```").unwrap();
            let content = Reader(text).content();
            assert!(content.is_ok(), "{text}: {content:?}");
        }
    }
}
