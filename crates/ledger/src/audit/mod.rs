//! The audit trail: records who fetched or removed each file, in a hash chain that reveals later changes.
//!
//! Each [`Entry`] has a hash that covers the entry and the hash before it, so an entry that is changed, removed, inserted or moved
//! breaks the chain. An entry commits to its key by a salted digest: the key can be erased, and the chain stays valid.
//!
//! The methods are those of [`Ledger`](crate::Ledger):
//!
//! | method | effect |
//! | --- | --- |
//! | [`append_audit`](crate::Ledger::append_audit), [`append_audit_all`](crate::Ledger::append_audit_all) | append entries |
//! | [`audit`](crate::Ledger::audit), [`audit_after`](crate::Ledger::audit_after) | return entries |
//! | [`verify_audit`](crate::Ledger::verify_audit) | recomputes the chain |
//! | [`erase_audit_account`](crate::Ledger::erase_audit_account) | erases the keys of entries |
//! | [`prune_audit`](crate::Ledger::prune_audit) | removes old entries |
//!
//! Every removal by [`Recorded`](crate::Recorded) appends an entry in the transaction that removes the row of the file, and
//! `prune_audit` appends one for those that it removes. All other entries are the application's: it appends those of fetches and of what its
//! operator does.

mod append;
mod entry;
mod erase;
mod prune;
mod rows;
mod search;
mod verify;

pub(crate) use self::{append::append_removal, erase::erase_key};
pub use self::{
    entry::{Action, Entry},
    rows::Audited,
    search::AuditSearch,
    verify::{AuditFault, AuditVerified},
};
