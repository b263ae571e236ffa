-- The same tables as in SQLite: see sqlite/1.sql for their contents.
CREATE TABLE files (
    key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account TEXT COLLATE "C",
    owner TEXT COLLATE "C",
    document TEXT COLLATE "C",
    attachment TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    sha256 BYTEA,
    content_type TEXT COLLATE "C",
    stored_at BIGINT NOT NULL,
    metadata TEXT COLLATE "C",
    call_id TEXT COLLATE "C",
    caller_number TEXT COLLATE "C",
    callee_number TEXT COLLATE "C",
    event TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL
);

CREATE INDEX files_by_account ON files (account, stored_at);
CREATE INDEX files_by_call_id ON files (call_id) WHERE call_id IS NOT NULL;
CREATE INDEX files_by_caller_number ON files (caller_number) WHERE caller_number IS NOT NULL;
CREATE INDEX files_by_callee_number ON files (callee_number) WHERE callee_number IS NOT NULL;

CREATE TABLE receivers (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    active BIGINT NOT NULL
);

-- The row of the file is locked before its event gets a number, so the numbers of a key are in the order of the commits.
-- Rows come and go, so they are cleaned up often.
CREATE TABLE outbox (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    receiver TEXT COLLATE "C" NOT NULL,
    event TEXT COLLATE "C" NOT NULL,
    event_kind TEXT COLLATE "C" NOT NULL,
    recorded_at BIGINT NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    sha256 BYTEA,
    content_type TEXT COLLATE "C",
    stored_at BIGINT NOT NULL,
    metadata TEXT COLLATE "C",
    call_id TEXT COLLATE "C",
    caller_number TEXT COLLATE "C",
    callee_number TEXT COLLATE "C",
    due_at BIGINT,
    attempts BIGINT NOT NULL DEFAULT 0,
    error TEXT COLLATE "C"
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX outbox_by_due ON outbox (receiver, due_at, seq);
CREATE INDEX outbox_by_key ON outbox (receiver, key, seq);

CREATE TABLE state (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO state VALUES ('checked_at', 0), ('indexed_at', 0);
