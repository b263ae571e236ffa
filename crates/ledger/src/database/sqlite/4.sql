-- Events.
-- A receiver claims the first waiting event of a key. It must not read the dead ones before it, of which there may be many.
DROP INDEX outbox_by_key;
CREATE INDEX outbox_by_key ON outbox (receiver, key) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_deletions ON outbox (receiver, key) WHERE event_kind = 'file.deleted';

-- Holds, removals and requests for deletion.

-- A file is held by each hold whose conditions it satisfies. A condition that is NULL is satisfied by every file.
CREATE TABLE holds (
    id TEXT NOT NULL PRIMARY KEY,
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    account TEXT,
    document TEXT,
    key TEXT,
    number TEXT,
    call_id TEXT,
    since INTEGER,
    until INTEGER
) STRICT, WITHOUT ROWID;
-- The number of changes of `holds`. PostgreSQL locks the row: a removal begins before a hold is added, or sees it.
INSERT INTO state VALUES ('holds', 0);

-- The files that are being removed from the store. `event` is the id of the event of the removal, and `file_event` that of the file.
-- The row of the file has the latter, until an upload stores the file again. `server` is the server that began the removal, as it was
-- started: no other one may replace the intent while the removal may be running.
CREATE TABLE removals (
    key TEXT NOT NULL PRIMARY KEY,
    event TEXT NOT NULL,
    file_event TEXT NOT NULL,
    cause TEXT NOT NULL,
    server TEXT NOT NULL,
    begun_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The documents whose files are to be removed at `due_at`.
CREATE TABLE deletion_requests (
    account TEXT NOT NULL,
    document TEXT NOT NULL,
    kind TEXT NOT NULL,
    requested_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    PRIMARY KEY (account, document)
) STRICT, WITHOUT ROWID;
CREATE INDEX deletion_requests_by_due ON deletion_requests (due_at);

-- The audit trail.

-- Each entry, in the order of the chain. `subject` is the SHA-256 of `salt` and `key`; both are NULL if the subject was erased.
-- `hash` covers the hash before it and the entry: docs/audit.md has the bytes.
CREATE TABLE audit (
    seq INTEGER NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    name TEXT,
    address TEXT,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    key TEXT,
    salt BLOB,
    subject BLOB,
    hash BLOB NOT NULL
) STRICT;

CREATE INDEX audit_by_time ON audit (at, seq);
CREATE INDEX audit_by_key ON audit (key) WHERE key IS NOT NULL;

-- `head` is the last entry, and `anchor` the one before the first: 0, or the last that was removed because of its age.
CREATE TABLE audit_ends (
    name TEXT NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO audit_ends VALUES ('head', 0, zeroblob(32)), ('anchor', 0, zeroblob(32));

-- The clock. `clock_noted_at`: the last time that was noted, at first that of the newest file. `clock_suspended`: 1 while a
-- server's clock is wrong. `clock_confirmations`: how often an operator has confirmed the time.
INSERT INTO state SELECT 'clock_noted_at', COALESCE(MAX(stored_at), 0) FROM files;
INSERT INTO state VALUES ('clock_suspended', 0), ('clock_confirmations', 0);

-- Other files of a document are found by the beginning of their keys.
CREATE INDEX files_by_document ON files (account, document) WHERE owner IS NOT NULL;
