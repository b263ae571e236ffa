-- See sqlite/4.sql.

-- Events.
DROP INDEX outbox_by_key;
CREATE INDEX outbox_by_key ON outbox (receiver, key, seq) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_deletions ON outbox (receiver, key, seq) WHERE event_kind = 'file.deleted';

-- Holds, removals and requests for deletion.

CREATE TABLE holds (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    reason TEXT COLLATE "C" NOT NULL,
    author TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    account TEXT COLLATE "C",
    document TEXT COLLATE "C",
    key TEXT COLLATE "C",
    number TEXT COLLATE "C",
    call_id TEXT COLLATE "C",
    since BIGINT,
    until BIGINT
);
INSERT INTO state VALUES ('holds', 0);

CREATE TABLE removals (
    key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    event TEXT COLLATE "C" NOT NULL,
    file_event TEXT COLLATE "C" NOT NULL,
    cause TEXT COLLATE "C" NOT NULL,
    server TEXT COLLATE "C" NOT NULL,
    begun_at BIGINT NOT NULL
);

-- It is volatile, and so sees a removal that was committed while its statement waited for a lock.
CREATE FUNCTION is_being_removed(TEXT) RETURNS BOOLEAN LANGUAGE SQL VOLATILE
    AS 'SELECT EXISTS (SELECT 1 FROM removals WHERE key = $1)';

CREATE TABLE deletion_requests (
    account TEXT COLLATE "C" NOT NULL,
    document TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    requested_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    PRIMARY KEY (account, document)
);
CREATE INDEX deletion_requests_by_due ON deletion_requests (due_at);

-- The audit trail.

CREATE TABLE audit (
    seq BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    name TEXT COLLATE "C",
    address TEXT COLLATE "C",
    action TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C",
    salt BYTEA,
    subject BYTEA,
    hash BYTEA NOT NULL
);

CREATE INDEX audit_by_time ON audit (at, seq);
CREATE INDEX audit_by_key ON audit (key) WHERE key IS NOT NULL;

CREATE TABLE audit_ends (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash BYTEA NOT NULL
) WITH (fillfactor = 50);
INSERT INTO audit_ends VALUES ('head', 0, decode(repeat('00', 32), 'hex')), ('anchor', 0, decode(repeat('00', 32), 'hex'));

-- In SQLite, the program has a function of this name.
CREATE FUNCTION audit_hash(BYTEA, BYTEA) RETURNS BYTEA LANGUAGE SQL IMMUTABLE AS 'SELECT sha256($1 || $2)';

-- The clock.
INSERT INTO state SELECT 'clock_noted_at', COALESCE(MAX(stored_at), 0) FROM files;
INSERT INTO state VALUES ('clock_suspended', 0), ('clock_confirmations', 0);

CREATE INDEX files_by_document ON files (account, document) WHERE owner IS NOT NULL;
