-- +goose Up
-- Generations of an algorithm count up from 0. A key signs from activates_at until
-- the next generation does; removed_at takes it away before its time.
ALTER TABLE signing_keys ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE signing_keys ADD COLUMN activates_at INTEGER;
ALTER TABLE signing_keys ADD COLUMN removed_at INTEGER;
UPDATE signing_keys SET activates_at = created_at;
CREATE UNIQUE INDEX signing_keys_by_generation ON signing_keys (algorithm, generation);

-- The JWS algorithm that a client's backends can read; empty: the server's first.
ALTER TABLE clients ADD COLUMN algorithm TEXT NOT NULL DEFAULT '';
