-- +goose Up
-- +compatible 4
-- One row: where the data is from. Whoever vouches for data that was restored from a
-- backup begins a revision of statuses, and writes it down here.
CREATE TABLE lineage (
	confirmed bigint NOT NULL, -- that revision; 0: nobody ever did
	home      text   NOT NULL  -- where the data was served last: CLUSTER/DATABASE/TABLE; empty: nowhere yet
);
INSERT INTO lineage (confirmed, home) VALUES (0, '');
