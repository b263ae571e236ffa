-- See sqlite/3.sql.
DROP INDEX files_by_account;
CREATE INDEX files_by_account ON files (account, stored_at) INCLUDE (size);
