-- +goose Up
-- Times are nanoseconds since 1970 UTC, durations nanoseconds; NULL is the
-- zero time. Maps are JSON, as text, so that they come back byte for byte; NULL is
-- nil. Names are compared by their bytes. A migration, once released, is never
-- edited.

CREATE TABLE keyspaces (
	name             text    COLLATE "C" NOT NULL PRIMARY KEY,
	prefix           text    NOT NULL,
	key_lifetime     bigint  NOT NULL,
	token_lifetime   bigint  NOT NULL,
	publish_metadata boolean NOT NULL,
	imported_keys    boolean NOT NULL,
	created_at       bigint
);

INSERT INTO keyspaces (name, prefix, key_lifetime, token_lifetime, publish_metadata, imported_keys, created_at)
VALUES ('default', 'ck', 0, 0, false, false, (extract(epoch FROM now()) * 1000000)::bigint * 1000);

-- Narrow, and the only rows that a charge rewrites: with room on the page and no
-- index on what changes, the new version stays on the page and touches no index.
CREATE TABLE budgets (
	id              text    COLLATE "C" NOT NULL PRIMARY KEY,
	counted         boolean NOT NULL,
	remaining       bigint  NOT NULL CHECK (remaining >= 0 OR NOT counted),
	refill_amount   bigint  NOT NULL,
	refill_interval text,
	refill_anchor   bigint,
	refilled        bigint,
	rate_limit      bigint  NOT NULL,
	rate_window     bigint  NOT NULL,
	rate_burst      bigint  NOT NULL,
	tat             bigint
) WITH (fillfactor = 60);

-- Wide, and untouched by use. Keys may share a budget: a rotated key does.
CREATE TABLE keys (
	id          text  COLLATE "C" NOT NULL PRIMARY KEY,
	digest      bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
	start       text  NOT NULL,
	keyspace    text  COLLATE "C" NOT NULL REFERENCES keyspaces (name),
	owner       text  COLLATE "C" NOT NULL,
	name        text  NOT NULL,
	permissions text,
	audiences   text[],
	metadata    text,
	state       text  NOT NULL CHECK (state IN ('active', 'disabled', 'revoked')),
	created_at  bigint,
	expires_at  bigint,
	budget_id   text  COLLATE "C" NOT NULL REFERENCES budgets (id)
);

CREATE INDEX keys_by_keyspace ON keys (keyspace, id);
CREATE INDEX keys_by_owner ON keys (owner, id);
CREATE INDEX keys_by_budget ON keys (budget_id);

CREATE TABLE clients (
	id          text    COLLATE "C" NOT NULL PRIMARY KEY,
	rights      text[],
	audiences   text[],
	keyspaces   text[]  COLLATE "C",
	permissions text,
	disabled    boolean NOT NULL,
	created_at  bigint,
	version     bigint  NOT NULL DEFAULT 1 -- grows with every change
);

CREATE TABLE client_secrets (
	client_id text   COLLATE "C" NOT NULL REFERENCES clients (id),
	position  bigint NOT NULL, -- oldest first
	digest    bytea  NOT NULL CHECK (length(digest) = 32),
	PRIMARY KEY (client_id, position)
);

-- Generations of an algorithm count up from 0. Their uniqueness is what lets one
-- of several servers that add the same one win, without a lock.
CREATE TABLE signing_keys (
	kid        text   COLLATE "C" NOT NULL PRIMARY KEY,
	algorithm  text   COLLATE "C" NOT NULL,
	generation bigint NOT NULL,
	public_key bytea  NOT NULL,
	sealed     bytea  NOT NULL,
	created_at bigint,
	UNIQUE (algorithm, generation)
);

-- Who used what, by the hour (hours since 1970). key_id references keys, but not
-- by a constraint: that would lock, and so rewrite, the wide row of a key for each
-- new row here. Who adds rows has seen the key in the same transaction.
CREATE TABLE usage (
	key_id   text   COLLATE "C" NOT NULL,
	hour     bigint NOT NULL,
	client   text   COLLATE "C" NOT NULL,
	audience text   COLLATE "C" NOT NULL,
	outcome  text   COLLATE "C" NOT NULL,
	requests bigint NOT NULL,
	cost     bigint NOT NULL,
	PRIMARY KEY (key_id, hour, client, audience, outcome)
) WITH (fillfactor = 70);

CREATE INDEX usage_by_hour ON usage (hour);

-- Sums over all keys, of the hours before usage_sums.until.
CREATE TABLE usage_hourly (
	hour     bigint NOT NULL,
	keyspace text   COLLATE "C" NOT NULL,
	client   text   COLLATE "C" NOT NULL,
	audience text   COLLATE "C" NOT NULL,
	outcome  text   COLLATE "C" NOT NULL,
	requests bigint NOT NULL,
	cost     bigint NOT NULL,
	PRIMARY KEY (hour, keyspace, client, audience, outcome)
);

CREATE TABLE usage_sums (until bigint NOT NULL);
INSERT INTO usage_sums (until) VALUES (0);
