-- +goose Up
-- A key signs from activates_at until the next generation does; removed_at takes
-- it away before its time.
ALTER TABLE signing_keys ADD COLUMN activates_at bigint, ADD COLUMN removed_at bigint;
UPDATE signing_keys SET activates_at = created_at;

-- One row, which every change of the signing keys locks.
CREATE TABLE signing_keys_lock (id bigint NOT NULL PRIMARY KEY CHECK (id = 1));
INSERT INTO signing_keys_lock (id) VALUES (1);

-- The JWS algorithm that a client's backends can read; empty: the server's first.
ALTER TABLE clients ADD COLUMN algorithm text NOT NULL DEFAULT '';
