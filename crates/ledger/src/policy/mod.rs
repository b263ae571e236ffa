//! The rules that determine how long files are kept.
//!
//! A [`Policy`] consists of [`Rule`]s. Only the most specific rule applies to a file. A file without a rule is kept.
//! [`Ledger::set_policy`](crate::Ledger::set_policy) sets the policy, and [`retention`](crate::retention) applies it.

mod rule;

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use kazoo_storage::{Error, ErrorKind, Result};

pub use self::rule::Rule;
use crate::{file::FileRecord, time};

/// Default time from the deletion of a document in KAZOO to the removal of its files.
const GRACE: Duration = Duration::from_secs(30 * 86_400);

/// The rules that determine how long files are kept.
///
/// A rule for an account and a kind precedes one for an account, that one precedes one for a kind, and that one precedes a rule
/// without conditions. The first of them alone applies to a file: if it has no `days`, nothing is deleted.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    /// The positions of the rules of each account.
    accounts: HashMap<String, Vec<usize>>,
    /// The positions of the rules without an account.
    general: Vec<usize>,
    grace: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy {
    /// Creates a policy without rules, which keeps every file.
    #[must_use]
    pub fn new() -> Self {
        Self {
            rules: Vec::new(),
            accounts: HashMap::new(),
            general: Vec::new(),
            grace: GRACE,
        }
    }

    /// Adds a rule.
    ///
    /// Fails if it would delete files before its floor, or if another rule has the same conditions.
    pub fn rule(mut self, rule: Rule) -> Result<Self> {
        let invalid = |message: String| Error::new(ErrorKind::InvalidRequest, message);
        if let (Some(days), Some(floor)) = (rule.days, rule.floor_days)
            && floor > days
        {
            let message = format!("`floor_days` is {floor}, more than `days`, which is {days}");
            return Err(invalid(message));
        }
        if self.rules.iter().any(|other| other.has_conditions_of(&rule)) {
            let message = format!("another rule has the same conditions: {}", rule.conditions());
            return Err(invalid(message));
        }
        let positions = match &rule.account {
            Some(account) => self.accounts.entry(account.clone()).or_default(),
            None => &mut self.general,
        };
        positions.push(self.rules.len());
        self.rules.push(rule);
        Ok(self)
    }

    /// Sets the time from the deletion of a document in KAZOO to the removal of its files; 30 days by default.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Returns the time from the deletion of a document in KAZOO to the removal of its files.
    pub(crate) fn grace_period(&self) -> Duration {
        self.grace
    }

    /// Returns the rules, in the order in which they were added.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the time before which nothing may delete `file`, if there is one. It may be in the past.
    #[must_use]
    pub(crate) fn floor_end(&self, file: &FileRecord) -> Option<SystemTime> {
        let floor = self.rule_of(file)?.1.floor()?;
        // A time that cannot be represented never comes.
        Some(
            file.stored_at
                .checked_add(floor)
                .unwrap_or_else(|| time::from_millis(i64::MAX)),
        )
    }

    /// Returns `true` if a rule deletes `file` at the time `now`.
    pub(crate) fn deletes(&self, file: &FileRecord, now: SystemTime) -> bool {
        let age = self.rule_of(file).and_then(|(_, rule)| rule.age());
        age.and_then(|age| now.checked_sub(age))
            .is_some_and(|until| file.stored_at <= until)
    }

    /// Returns `true` if a rule has a floor.
    #[must_use]
    pub(crate) fn has_floors(&self) -> bool {
        self.rules.iter().any(|rule| rule.floor().is_some())
    }

    /// Returns the rule that applies to `file`, and its position.
    pub(crate) fn rule_of(&self, file: &FileRecord) -> Option<(usize, &Rule)> {
        let of_account = file.key.account_id().and_then(|account| self.accounts.get(account));
        let levels = [of_account, Some(&self.general)].into_iter().flatten();
        for positions in levels {
            let rules = || positions.iter().filter_map(|at| Some((*at, self.rules.get(*at)?)));
            let of_kind = rules().find(|(_, rule)| rule.kind == Some(crate::file::kind_name(file.kind)));
            if let Some(found) = of_kind.or_else(|| rules().find(|(_, rule)| rule.kind.is_none())) {
                return Some(found);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use kazoo_storage::{BlobKey, kazoo_id::AttachmentKind};

    use super::*;

    fn file(path: &str) -> FileRecord {
        FileRecord::new(&BlobKey::from_path(path).unwrap(), 1, None)
    }

    #[test]
    fn the_most_specific_rule_applies() {
        let rule = |days| Rule::new().days(days);
        let mut policy = Policy::new();
        for rule in [
            rule(1),
            rule(2).kind(AttachmentKind::Fax),
            rule(3).account("A"),
            rule(4).account("A").kind(AttachmentKind::Fax),
            rule(5).account("B").kind(AttachmentKind::Fax),
            rule(6).kind(None),
        ] {
            policy = policy.rule(rule).unwrap();
        }
        for (path, days) in [
            ("C/D/call_recording_x.mp3", 1),
            ("C/D/fax_file.tiff", 2),
            ("C/D/greeting.wav", 6),
            ("system_data/x", 6),
            ("A/D/call_recording_x.mp3", 3),
            ("A/D/greeting.wav", 3),
            ("A/D/fax_file.tiff", 4),
            ("A/O/D/fax_file.tiff", 4),
            ("B/D/fax_file.tiff", 5),
            ("B/D/call_recording_x.mp3", 1),
        ] {
            assert_eq!(policy.rule_of(&file(path)).unwrap().1.days, Some(days), "{path}");
        }
        assert!(Policy::new().rule_of(&file("A/D/fax_file.tiff")).is_none());
    }

    #[test]
    fn only_the_floor_of_the_rule_that_applies_protects() {
        let policy = Policy::new().rule(Rule::new().floor_days(10)).unwrap();
        assert!(policy.has_floors());
        let of_b = policy.rule(Rule::new().account("B").days(1)).unwrap();
        let recent = file("A/D/x");
        let end = of_b.floor_end(&recent).unwrap();
        assert_eq!(end.duration_since(recent.stored_at).unwrap().as_secs(), 864_000);
        assert_eq!(of_b.floor_end(&file("B/D/x")), None);
        let forever = Policy::new().rule(Rule::new().floor_days(u32::MAX)).unwrap();
        assert!(forever.floor_end(&recent).unwrap() > end);
        let none = Policy::new().rule(Rule::new().floor_days(0)).unwrap();
        assert!(!none.has_floors() && none.floor_end(&recent).is_none());
    }

    #[test]
    fn refuses_rules_that_contradict() {
        let floor = Policy::new().rule(Rule::new().days(9).floor_days(10)).unwrap_err();
        assert!(floor.message().contains("`floor_days` is 10"), "{floor}");
        let policy = Policy::new().rule(Rule::new().account("A").kind(None)).unwrap();
        let twice = policy.rule(Rule::new().account("A").kind(None).days(1)).unwrap_err();
        assert!(twice.message().contains("account A, kind other"), "{twice}");
    }
}
