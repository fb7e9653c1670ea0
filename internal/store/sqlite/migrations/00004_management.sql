-- +goose Up
-- What management keeps about a key beyond what decides about its use. version
-- grows with every change by an operator and never with use. A key that was deleted
-- stays as its tombstone: revoked, with its digest, its owner and its times.
ALTER TABLE keys ADD COLUMN external_id TEXT NOT NULL DEFAULT ''; -- its id in the system that it came from
ALTER TABLE keys ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE keys ADD COLUMN changed_at INTEGER;
ALTER TABLE keys ADD COLUMN reason TEXT NOT NULL DEFAULT ''; -- why it is disabled or revoked
ALTER TABLE keys ADD COLUMN replaces TEXT NOT NULL DEFAULT ''; -- its predecessor
ALTER TABLE keys ADD COLUMN replaced_by TEXT NOT NULL DEFAULT ''; -- its successor, which shares its budget
ALTER TABLE keys ADD COLUMN deleted_at INTEGER;

CREATE INDEX keys_by_name ON keys (name, id) WHERE name <> '';
CREATE INDEX keys_by_external_id ON keys (external_id, id) WHERE external_id <> '';

ALTER TABLE keyspaces ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE keyspaces ADD COLUMN changed_at INTEGER;

ALTER TABLE client_secrets ADD COLUMN created_at INTEGER;
ALTER TABLE clients ADD COLUMN changed_at INTEGER;

-- The log of what was changed: each hash is over the one before it and this entry,
-- which is JSON, byte for byte as it was hashed. The columns beside it are for
-- finding; they say what the entry says.
CREATE TABLE audit (
	seq      INTEGER NOT NULL PRIMARY KEY,
	at       INTEGER NOT NULL,
	actor    TEXT    NOT NULL,
	action   TEXT    NOT NULL,
	target   TEXT    NOT NULL,
	keyspace TEXT    NOT NULL, -- empty: of none
	entry    TEXT    NOT NULL,
	hash     BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE INDEX audit_by_target ON audit (target, seq);

-- The newest entry; whoever adds one changes this row.
CREATE TABLE audit_head (
	seq  INTEGER NOT NULL,
	hash BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO audit_head (seq, hash) VALUES (0, zeroblob(32));

-- Refused authentications, counted by the hour (hours since 1970). No chain: an
-- attacker would write it.
CREATE TABLE audit_refusals (
	hour     INTEGER NOT NULL,
	client   TEXT    NOT NULL, -- empty: nobody that is known
	remote   TEXT    NOT NULL, -- empty: more addresses than are kept
	attempts INTEGER NOT NULL,
	last_at  INTEGER NOT NULL,
	PRIMARY KEY (hour, client, remote)
) STRICT, WITHOUT ROWID;

-- What was done under an idempotency key. id is the SHA-256 of who said it and the
-- key, request that of what was asked; answer is what a repeat is answered from, and
-- holds no secret. Without use after until.
CREATE TABLE repeats (
	id      BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
	request BLOB    NOT NULL CHECK (length(request) = 32),
	answer  TEXT    NOT NULL,
	until   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX repeats_by_until ON repeats (until);
