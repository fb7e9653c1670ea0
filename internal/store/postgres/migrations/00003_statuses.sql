-- +goose Up
-- Every key has an entry in a list of statuses, which its tokens refer to. Whoever
-- changes a status, opens a list or begins a generation counts the revision up, and
-- stamps the change with it. The row stays locked until the commit, so that
-- whoever sees a revision sees all before it.

CREATE TABLE status_revision (value bigint NOT NULL);

-- A list is numbered by the revision that opened it.
CREATE TABLE status_lists (
	list     bigint NOT NULL PRIMARY KEY,
	keyspace text   COLLATE "C" NOT NULL REFERENCES keyspaces (name),
	size     bigint NOT NULL CHECK (size > 0)
);

CREATE INDEX status_lists_by_keyspace ON status_lists (keyspace, list);

-- A row for each entry that was ever handed out; none is handed out twice. Values
-- are those of Token Status List §7.1. Revision 0: never changed.
CREATE TABLE statuses (
	list     bigint   NOT NULL,
	idx      bigint   NOT NULL,
	value    smallint NOT NULL CHECK (value BETWEEN 0 AND 3),
	revision bigint   NOT NULL,
	PRIMARY KEY (list, idx)
);

CREATE INDEX statuses_by_revision ON statuses (revision) WHERE revision > 0;

-- Tokens of generations before this one are void, since this revision.
ALTER TABLE keyspaces
	ADD COLUMN status_generation bigint NOT NULL DEFAULT 0,
	ADD COLUMN status_revision bigint NOT NULL DEFAULT 0;

-- Keys that are there get entries in random order.
CREATE TABLE status_start (
	key_id   text   COLLATE "C" NOT NULL PRIMARY KEY,
	keyspace text   COLLATE "C" NOT NULL,
	list     bigint NOT NULL,
	idx      bigint NOT NULL
);

INSERT INTO status_start (key_id, keyspace, list, idx)
SELECT id, keyspace, dense_rank() OVER (ORDER BY keyspace, place / 131072), place % 131072
FROM (SELECT id, keyspace, row_number() OVER (PARTITION BY keyspace ORDER BY random()) - 1 AS place FROM keys) k;

INSERT INTO status_lists (list, keyspace, size) SELECT DISTINCT list, keyspace, 131072 FROM status_start;
INSERT INTO statuses (list, idx, value, revision) SELECT list, idx, 0, 0 FROM status_start;
INSERT INTO status_revision (value) SELECT coalesce(max(list), 0) FROM status_lists;

ALTER TABLE keys
	ADD COLUMN status_list bigint NOT NULL DEFAULT 0,
	ADD COLUMN status_index bigint NOT NULL DEFAULT 0;
UPDATE keys k SET status_list = s.list, status_index = s.idx FROM status_start s WHERE s.key_id = k.id;
ALTER TABLE keys ALTER COLUMN status_list DROP DEFAULT, ALTER COLUMN status_index DROP DEFAULT;

DROP TABLE status_start;
