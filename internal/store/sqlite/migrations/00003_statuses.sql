-- +goose Up
-- Every key has an entry in a list of statuses, which its tokens refer to. Whoever
-- changes a status, opens a list or begins a generation counts the revision up, and
-- stamps the change with it.

CREATE TABLE status_revision (value INTEGER NOT NULL) STRICT;

-- A list is numbered by the revision that opened it.
CREATE TABLE status_lists (
	list     INTEGER NOT NULL PRIMARY KEY,
	keyspace TEXT    NOT NULL REFERENCES keyspaces (name),
	size     INTEGER NOT NULL CHECK (size > 0)
) STRICT;

CREATE INDEX status_lists_by_keyspace ON status_lists (keyspace, list);

-- A row for each entry that was ever handed out; none is handed out twice. Values
-- are those of Token Status List §7.1. Revision 0: never changed.
CREATE TABLE statuses (
	list     INTEGER NOT NULL,
	idx      INTEGER NOT NULL,
	value    INTEGER NOT NULL CHECK (value BETWEEN 0 AND 3),
	revision INTEGER NOT NULL,
	PRIMARY KEY (list, idx)
) STRICT, WITHOUT ROWID;

CREATE INDEX statuses_by_revision ON statuses (revision) WHERE revision > 0;

-- Tokens of generations before this one are void, since this revision.
ALTER TABLE keyspaces ADD COLUMN status_generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keyspaces ADD COLUMN status_revision INTEGER NOT NULL DEFAULT 0;

-- Keys that are there get entries in random order.
CREATE TABLE status_start (
	key_id   TEXT    NOT NULL PRIMARY KEY,
	keyspace TEXT    NOT NULL,
	list     INTEGER NOT NULL,
	idx      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO status_start (key_id, keyspace, list, idx)
SELECT id, keyspace, dense_rank() OVER (ORDER BY keyspace, place / 131072), place % 131072
FROM (SELECT id, keyspace, row_number() OVER (PARTITION BY keyspace ORDER BY random()) - 1 AS place FROM keys);

INSERT INTO status_lists (list, keyspace, size) SELECT DISTINCT list, keyspace, 131072 FROM status_start;
INSERT INTO statuses (list, idx, value, revision) SELECT list, idx, 0, 0 FROM status_start;
INSERT INTO status_revision (value) SELECT coalesce(max(list), 0) FROM status_lists;

ALTER TABLE keys ADD COLUMN status_list INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN status_index INTEGER NOT NULL DEFAULT 0;
UPDATE keys SET (status_list, status_index) = (SELECT s.list, s.idx FROM status_start s WHERE s.key_id = keys.id);

DROP TABLE status_start;
