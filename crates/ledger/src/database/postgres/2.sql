-- See sqlite/2.sql.
ALTER TABLE outbox ADD COLUMN claimed BIGINT NOT NULL DEFAULT 0;

CREATE INDEX outbox_by_event ON outbox (event);
CREATE INDEX outbox_by_receiver ON outbox (receiver, seq);
CREATE INDEX outbox_dead ON outbox (receiver, seq) WHERE due_at IS NULL;

CREATE INDEX files_by_time ON files (stored_at, key);
