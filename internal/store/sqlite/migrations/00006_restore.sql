-- +goose Up
-- +compatible 4
-- One row: where the data is from. Whoever vouches for data that was restored from a
-- backup begins a revision of statuses, and writes it down here.
CREATE TABLE lineage (
	confirmed INTEGER NOT NULL, -- that revision; 0: nobody ever did
	copied_at INTEGER           -- this is the copy that was made then, and nobody has vouched for it; NULL: it is not
) STRICT;
INSERT INTO lineage (confirmed) VALUES (0);
