-- +goose Up
-- +compatible 4
-- A keyspace may hold keys that can be guessed; attempts at keys of other forms than
-- ours are then refused unseen once too many have failed.
ALTER TABLE keyspaces ADD COLUMN weak_keys INTEGER NOT NULL DEFAULT 0 CHECK (weak_keys IN (0, 1));
