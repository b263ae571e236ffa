-- The files that the store has. `key` is the segments of the key, each pair separated by the byte 0x1f, which no
-- segment contains. Times are milliseconds since 1970.
CREATE TABLE files (
    key TEXT NOT NULL PRIMARY KEY,
    account TEXT,
    owner TEXT,
    document TEXT,
    attachment TEXT NOT NULL,
    kind TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB,
    content_type TEXT,
    stored_at INTEGER NOT NULL,
    metadata TEXT,
    call_id TEXT,
    caller_number TEXT,
    callee_number TEXT,
    -- The id of the last event of the file, and how often it was stored since it was created. That number is not positive
    -- while the file is only known from the store.
    event TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;

CREATE INDEX files_by_account ON files (account, stored_at);
CREATE INDEX files_by_call_id ON files (call_id) WHERE call_id IS NOT NULL;
CREATE INDEX files_by_caller_number ON files (caller_number) WHERE caller_number IS NOT NULL;
CREATE INDEX files_by_callee_number ON files (callee_number) WHERE callee_number IS NOT NULL;

-- The receivers of events. Those that are not active receive no new events.
CREATE TABLE receivers (
    name TEXT NOT NULL PRIMARY KEY,
    active INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The events that a receiver has not acknowledged. An event of several receivers has a row for each.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    receiver TEXT NOT NULL,
    event TEXT NOT NULL,
    event_kind TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    -- The file at the time of the event.
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB,
    content_type TEXT,
    stored_at INTEGER NOT NULL,
    metadata TEXT,
    call_id TEXT,
    caller_number TEXT,
    callee_number TEXT,
    -- The time of the next attempt, or the end of the present one. NULL if the event is dead.
    due_at INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT
) STRICT;

CREATE INDEX outbox_by_due ON outbox (receiver, due_at, seq);
CREATE INDEX outbox_by_key ON outbox (receiver, key, seq);

-- `checked_at`: the time of the last check that the ledger can be written. `indexed_at`: the time at which every file of
-- the store was recorded; 0 if some may be missing.
CREATE TABLE state (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO state VALUES ('checked_at', 0), ('indexed_at', 0);
