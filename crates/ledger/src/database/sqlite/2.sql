-- 1 while a receiver has the event, until `due_at`.
ALTER TABLE outbox ADD COLUMN claimed INTEGER NOT NULL DEFAULT 0;

-- `seq` is part of each index, because it is the row id. The dead events of a receiver are the part of `outbox_by_due`
-- in which `due_at` is NULL.
CREATE INDEX outbox_by_event ON outbox (event);
CREATE INDEX outbox_by_receiver ON outbox (receiver);

CREATE INDEX files_by_time ON files (stored_at);
