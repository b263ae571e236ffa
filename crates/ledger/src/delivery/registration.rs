//! The registration of receivers in the ledger.

use kazoo_storage::Result;

use crate::{
    consumer::{PREFIXES, activate},
    database::{Row, statement},
    ledger::Ledger,
};

/// A receiver that is no longer registered, and the number of events that wait for it.
#[derive(Debug)]
pub(super) struct Abandoned {
    pub(super) name: String,
    pub(super) events: i64,
}

impl Ledger {
    /// Makes `names` the only active receivers, apart from consumers. Returns the inactive ones that still have events.
    ///
    /// An event that is recorded meanwhile is kept either for the earlier receivers or for `names`.
    pub(super) async fn set_receivers(&self, names: &[&str]) -> Result<Vec<Abandoned>> {
        const STOP: &str =
            "UPDATE receivers SET active = 0 WHERE active = 1 AND substr(name, 1, length(CAST($1 AS TEXT))) = $1";
        const ABANDONED: &str = "\
            SELECT name, events FROM ( \
                SELECT r.name, ( \
                    SELECT count(*) FROM outbox o WHERE o.receiver = r.name AND o.due_at IS NOT NULL) AS events \
                FROM receivers r WHERE r.active = 0 AND substr(r.name, 1, length(CAST($1 AS TEXT))) = $1) AS stopped \
            WHERE events > 0 ORDER BY name";
        let mut statements: Vec<_> = PREFIXES.iter().map(|prefix| statement!(STOP, *prefix)).collect();
        statements.extend(names.iter().map(|name| activate(name)));
        self.change(statements).await?;
        let abandoned = PREFIXES.iter().map(|prefix| statement!(ABANDONED, *prefix)).collect();
        let rows = self.read_all(abandoned).await?;
        rows.into_iter().flatten().map(abandoned_receiver).collect()
    }
}

fn abandoned_receiver(mut row: Row) -> Result<Abandoned> {
    Ok(Abandoned {
        name: row.text()?,
        events: row.integer()?,
    })
}
