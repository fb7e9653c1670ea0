-- +goose Up
-- +compatible 4
-- A keyspace may hold keys that can be guessed; attempts at keys of other forms than
-- ours are then refused unseen once too many have failed.
ALTER TABLE keyspaces ADD COLUMN weak_keys boolean NOT NULL DEFAULT false;
