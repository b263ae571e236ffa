//! [`Conditions`]: selects events.

use crate::database::Value;

/// The conditions of a statement about events, and their parameters.
#[derive(Clone)]
pub(super) struct Conditions(Vec<Condition>);

#[derive(Clone)]
struct Condition {
    /// A column, and what follows it.
    column: &'static str,
    test: &'static str,
    parameter: Option<Value>,
}

impl Conditions {
    pub(super) fn of(receiver: &str) -> Self {
        Self(Vec::new()).and("receiver", "=", receiver)
    }

    /// Selects the events with this id, one for each receiver.
    pub(super) fn with_id(id: &str) -> Self {
        Self(Vec::new()).and("event", "=", id)
    }

    pub(super) fn and(mut self, column: &'static str, test: &'static str, value: impl Into<Value>) -> Self {
        self.0.push(Condition {
            column,
            test,
            parameter: Some(value.into()),
        });
        self
    }

    /// Adds that the key is one of `account`: the separator 0x1f follows, and 0x20 is the next character.
    pub(super) fn below(self, account: &str) -> Self {
        self.and("key", ">=", format!("{account}\u{1f}"))
            .and("key", "<", format!("{account}\u{20}"))
    }

    pub(super) fn dead(self) -> Self {
        self.is("due_at", "IS NULL")
    }

    pub(super) fn waiting(self) -> Self {
        self.is("due_at", "IS NOT NULL")
    }

    fn is(mut self, column: &'static str, test: &'static str) -> Self {
        self.0.push(Condition {
            column,
            test,
            parameter: None,
        });
        self
    }

    /// Returns the conditions for the columns of `table`, such as `o.`, with parameters that are numbered from `first` on.
    pub(super) fn sql(&self, table: &str, first: usize) -> String {
        let mut number = first;
        let conditions = self.0.iter().map(|condition| {
            let Condition {
                column,
                test,
                parameter,
            } = condition;
            if parameter.is_none() {
                return format!("{table}{column} {test}");
            }
            number += 1;
            format!("{table}{column} {test} ${}", number - 1)
        });
        conditions.collect::<Vec<_>>().join(" AND ")
    }

    pub(super) fn into_parameters(self) -> Vec<Value> {
        self.0.into_iter().filter_map(|condition| condition.parameter).collect()
    }
}
