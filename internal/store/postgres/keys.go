package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

const (
	selectRecord = `SELECT ` + recordColumns + ` FROM keys k` + recordJoins
	byID         = ` WHERE k.id = $1`
	byDigest     = ` WHERE k.digest = $1`
)

// Key implements manage.Reader.
func (s *Store) Key(ctx context.Context, id verifier.KeyID) (manage.KeyRecord, time.Time, error) {
	found, now, err := queryAt(ctx, s, scanKeyRecord, selectKeyRecord+byID, string(id))
	rec, err := the(found, err)
	if err != nil {
		return manage.KeyRecord{}, time.Time{}, fmt.Errorf("key %s: %w", id, err)
	}
	return rec, now, nil
}

// KeyByDigest implements manage.Reader.
func (s *Store) KeyByDigest(ctx context.Context, digest verifier.Digest) (manage.KeyRecord, time.Time, error) {
	found, now, err := queryAt(ctx, s, scanKeyRecord, selectKeyRecord+byDigest, digest[:])
	rec, err := the(found, err)
	if err != nil {
		return manage.KeyRecord{}, time.Time{}, fmt.Errorf("key: %w", err)
	}
	return rec, now, nil
}

// FindKey implements store.KeyFinder.
func (s *Store) FindKey(ctx context.Context, id verifier.KeyID) (*verifier.Record, time.Time, error) {
	return s.find(ctx, byID, string(id))
}

// FindDigest implements store.KeyFinder.
func (s *Store) FindDigest(ctx context.Context, digest verifier.Digest) (*verifier.Record, time.Time, error) {
	return s.find(ctx, byDigest, digest[:])
}

func (s *Store) find(ctx context.Context, where string, arg any) (*verifier.Record, time.Time, error) {
	found, now, err := queryAt(ctx, s, scanRecord, selectRecord+where, arg)
	switch {
	case err != nil:
		return nil, time.Time{}, fmt.Errorf("finding a key: %w", err)
	case len(found) == 0:
		return nil, now, nil
	}
	return &found[0], now, nil
}

// Keys implements manage.Reader.
func (s *Store) Keys(ctx context.Context, filter manage.KeyFilter) ([]manage.KeyRecord, time.Time, error) {
	sql, args, err := keysQuery(filter)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("listing keys: %w", err)
	}
	records, now, err := queryAt(ctx, s, scanKeyRecord, sql, args...)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("listing keys: %w", err)
	}
	return records, now, nil
}

func keysQuery(filter manage.KeyFilter) (string, []any, error) {
	if filter.Limit < 1 {
		return "", nil, errors.New("KeyFilter.Limit is required")
	}
	state, err := inState(filter.State)
	if err != nil {
		return "", nil, err
	}
	where, args := ` WHERE k.id > $1 AND k.deleted_at IS NULL`+state, []any{string(filter.After), filter.Limit}
	narrow := func(condition string, value any) {
		args = append(args, value)
		where += fmt.Sprintf(condition, len(args))
	}
	if len(filter.Keyspaces) > 0 {
		narrow(` AND k.keyspace = ANY ($%d::text[])`, filter.Keyspaces)
	}
	if filter.Owner != "" {
		narrow(` AND k.owner = $%d`, filter.Owner)
	}
	// The indexes leave out the empty ones, which a plan for any value must be told.
	if filter.Name != "" {
		narrow(` AND k.name = $%d AND k.name <> ''`, filter.Name)
	}
	if filter.ExternalID != "" {
		narrow(` AND k.external_id = $%d AND k.external_id <> ''`, filter.ExternalID)
	}
	return selectKeyRecord + where + ` ORDER BY k.id LIMIT $2`, args, nil
}

// inState is the condition that a key is in a state of a manage.KeyFilter.
func inState(state string) (string, error) {
	const nanos = `(SELECT ` + clock + ` * 1000)`
	switch state {
	case "":
		return "", nil
	case manage.StateActive:
		return ` AND k.state = 'active' AND (k.expires_at IS NULL OR k.expires_at > ` + nanos + `)`, nil
	case manage.StateExpired:
		return ` AND k.state = 'active' AND k.expires_at <= ` + nanos, nil
	case manage.StateDisabled:
		return ` AND k.state = 'disabled'`, nil
	case manage.StateRevoked:
		return ` AND k.state = 'revoked'`, nil
	}
	return "", fmt.Errorf("no key has the state %.40q", state)
}
