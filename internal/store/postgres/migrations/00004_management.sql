-- +goose Up
-- What management keeps about a key beyond what decides about its use. version
-- grows with every change by an operator and never with use. A key that was deleted
-- stays as its tombstone: revoked, with its digest, its owner and its times.
ALTER TABLE keys
	ADD COLUMN external_id text COLLATE "C" NOT NULL DEFAULT '', -- its id in the system that it came from
	ADD COLUMN version     bigint NOT NULL DEFAULT 1,
	ADD COLUMN changed_at  bigint,
	ADD COLUMN reason      text NOT NULL DEFAULT '', -- why it is disabled or revoked
	ADD COLUMN replaces    text COLLATE "C" NOT NULL DEFAULT '', -- its predecessor
	ADD COLUMN replaced_by text COLLATE "C" NOT NULL DEFAULT '', -- its successor, which shares its budget
	ADD COLUMN deleted_at  bigint;

CREATE INDEX keys_by_name ON keys (name, id) WHERE name <> '';
CREATE INDEX keys_by_external_id ON keys (external_id, id) WHERE external_id <> '';

ALTER TABLE keyspaces
	ADD COLUMN version    bigint NOT NULL DEFAULT 1,
	ADD COLUMN changed_at bigint;

ALTER TABLE client_secrets ADD COLUMN created_at bigint;
ALTER TABLE clients ADD COLUMN changed_at bigint;

-- The log of what was changed: each hash is over the one before it and this entry,
-- which is JSON, byte for byte as it was hashed. The columns beside it are for
-- finding; they say what the entry says.
CREATE TABLE audit (
	seq      bigint NOT NULL PRIMARY KEY,
	at       bigint NOT NULL,
	actor    text   COLLATE "C" NOT NULL,
	action   text   COLLATE "C" NOT NULL,
	target   text   COLLATE "C" NOT NULL,
	keyspace text   COLLATE "C" NOT NULL, -- empty: of none
	entry    text   NOT NULL,
	hash     bytea  NOT NULL CHECK (length(hash) = 32)
);

CREATE INDEX audit_by_target ON audit (target, seq);

-- The newest entry; whoever adds one locks this row, last of all that it locks.
CREATE TABLE audit_head (
	seq  bigint NOT NULL,
	hash bytea  NOT NULL CHECK (length(hash) = 32)
);
INSERT INTO audit_head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- Refused authentications, counted by the hour (hours since 1970). No chain: an
-- attacker would write it.
CREATE TABLE audit_refusals (
	hour     bigint NOT NULL,
	client   text   COLLATE "C" NOT NULL, -- empty: nobody that is known
	remote   text   COLLATE "C" NOT NULL, -- empty: more addresses than are kept
	attempts bigint NOT NULL,
	last_at  bigint NOT NULL,
	PRIMARY KEY (hour, client, remote)
);

-- What was done under an idempotency key. id is the SHA-256 of who said it and the
-- key, request that of what was asked; answer is what a repeat is answered from, and
-- holds no secret. Without use after until.
CREATE TABLE repeats (
	id      bytea  NOT NULL PRIMARY KEY CHECK (length(id) = 32),
	request bytea  NOT NULL CHECK (length(request) = 32),
	answer  text   NOT NULL,
	until   bigint NOT NULL
);

CREATE INDEX repeats_by_until ON repeats (until);
