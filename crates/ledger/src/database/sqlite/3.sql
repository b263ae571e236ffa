-- With the length of each file, the index is enough to sum up the files of an account.
DROP INDEX files_by_account;
CREATE INDEX files_by_account ON files (account, stored_at, size);
