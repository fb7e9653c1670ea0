-- +goose Up
-- +compatible 4
-- The public keys, certificates and names that a client authenticates with beside its
-- secrets, as JSON; empty: none.
ALTER TABLE clients ADD COLUMN registered TEXT NOT NULL DEFAULT '';
