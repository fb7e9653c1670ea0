-- +goose Up
-- Times are nanoseconds since 1970 UTC, durations nanoseconds; NULL is the
-- zero time. Lists and maps are JSON; NULL is nil. A migration, once released,
-- is never edited.

PRAGMA application_id = 1130458466; -- "Camb"

CREATE TABLE keyspaces (
	name             TEXT    NOT NULL PRIMARY KEY,
	prefix           TEXT    NOT NULL,
	key_lifetime     INTEGER NOT NULL,
	token_lifetime   INTEGER NOT NULL,
	publish_metadata INTEGER NOT NULL CHECK (publish_metadata IN (0, 1)),
	imported_keys    INTEGER NOT NULL CHECK (imported_keys IN (0, 1)),
	created_at       INTEGER
) STRICT, WITHOUT ROWID;

INSERT INTO keyspaces (name, prefix, key_lifetime, token_lifetime, publish_metadata, imported_keys, created_at)
VALUES ('default', 'ck', 0, 0, 0, 0, unixepoch() * 1000000000);

-- Narrow, and the only rows that a charge rewrites.
CREATE TABLE budgets (
	id              TEXT    NOT NULL PRIMARY KEY,
	counted         INTEGER NOT NULL CHECK (counted IN (0, 1)),
	remaining       INTEGER NOT NULL CHECK (remaining >= 0 OR NOT counted),
	refill_amount   INTEGER NOT NULL,
	refill_interval TEXT,
	refill_anchor   INTEGER,
	refilled        INTEGER,
	rate_limit      INTEGER NOT NULL,
	rate_window     INTEGER NOT NULL,
	rate_burst      INTEGER NOT NULL,
	tat             INTEGER
) STRICT, WITHOUT ROWID;

-- Wide, and untouched by use. Keys may share a budget: a rotated key does.
CREATE TABLE keys (
	id          TEXT NOT NULL PRIMARY KEY,
	digest      BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
	start       TEXT NOT NULL,
	keyspace    TEXT NOT NULL REFERENCES keyspaces (name),
	owner       TEXT NOT NULL,
	name        TEXT NOT NULL,
	permissions TEXT,
	audiences   TEXT,
	metadata    TEXT,
	state       TEXT NOT NULL CHECK (state IN ('active', 'disabled', 'revoked')),
	created_at  INTEGER,
	expires_at  INTEGER,
	budget_id   TEXT NOT NULL REFERENCES budgets (id)
) STRICT;

CREATE INDEX keys_by_keyspace ON keys (keyspace, id);
CREATE INDEX keys_by_owner ON keys (owner, id);
CREATE INDEX keys_by_budget ON keys (budget_id);

CREATE TABLE clients (
	id          TEXT    NOT NULL PRIMARY KEY,
	rights      TEXT,
	audiences   TEXT,
	keyspaces   TEXT,
	permissions TEXT,
	disabled    INTEGER NOT NULL CHECK (disabled IN (0, 1)),
	created_at  INTEGER,
	version     INTEGER NOT NULL DEFAULT 1 -- grows with every change
) STRICT;

CREATE TABLE client_secrets (
	client_id TEXT    NOT NULL REFERENCES clients (id),
	position  INTEGER NOT NULL, -- oldest first
	digest    BLOB    NOT NULL CHECK (length(digest) = 32),
	PRIMARY KEY (client_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE signing_keys (
	kid        TEXT NOT NULL PRIMARY KEY,
	algorithm  TEXT NOT NULL,
	public_key BLOB NOT NULL,
	sealed     BLOB NOT NULL,
	created_at INTEGER
) STRICT;

-- Who used what, by the hour (hours since 1970).
CREATE TABLE usage (
	key_id   TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
	hour     INTEGER NOT NULL,
	client   TEXT    NOT NULL,
	audience TEXT    NOT NULL,
	outcome  TEXT    NOT NULL,
	requests INTEGER NOT NULL,
	cost     INTEGER NOT NULL,
	PRIMARY KEY (key_id, hour, client, audience, outcome)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_by_hour ON usage (hour);

-- Sums over all keys, of the hours before usage_sums.until.
CREATE TABLE usage_hourly (
	hour     INTEGER NOT NULL,
	keyspace TEXT    NOT NULL,
	client   TEXT    NOT NULL,
	audience TEXT    NOT NULL,
	outcome  TEXT    NOT NULL,
	requests INTEGER NOT NULL,
	cost     INTEGER NOT NULL,
	PRIMARY KEY (hour, keyspace, client, audience, outcome)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_sums (until INTEGER NOT NULL) STRICT;
INSERT INTO usage_sums (until) VALUES (0);
