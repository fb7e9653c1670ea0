package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/store/signinglog"
	"github.com/cambio-auth/cambio/issuer"
)

const (
	lockSigningKeys   = `SELECT id FROM signing_keys_lock FOR UPDATE`
	selectSigningKeys = `SELECT kid, algorithm, generation, public_key, sealed, created_at, activates_at, removed_at
		FROM signing_keys ORDER BY algorithm, generation`
	putSigningKey = `INSERT INTO signing_keys (kid, algorithm, generation, public_key, sealed, created_at, activates_at, removed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (kid) DO UPDATE SET sealed = excluded.sealed, activates_at = excluded.activates_at, removed_at = excluded.removed_at`
)

// SigningKeys implements issuer.KeyStore.
func (s *Store) SigningKeys(ctx context.Context) ([]issuer.SealedKey, time.Time, error) {
	keys, now, err := queryAt(ctx, s, scanSigningKey, selectSigningKeys)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("listing signing keys: %w", err)
	}
	return keys, now, nil
}

func scanSigningKey(row pgx.CollectableRow) (k issuer.SealedKey, err error) {
	var created, activates, removed pgtype.Int8
	err = row.Scan(&k.KID, &k.Algorithm, &k.Generation, &k.PublicKey, &k.Sealed, &created, &activates, &removed)
	k.CreatedAt, k.ActivatesAt, k.RemovedAt = stamped(created), stamped(activates), stamped(removed)
	return k, err
}

// ChangeSigningKeys implements issuer.KeyStore. One row, locked first, keeps changes
// apart; what is read after it is what the last change committed. The audit log
// comes last.
func (s *Store) ChangeSigningKeys(ctx context.Context, change func(now time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error)) error {
	err := s.transact(ctx, func(tx *transaction) ([]statement, error) {
		var before []issuer.SealedKey
		var now time.Time
		err := tx.begin(ctx, []statement{{lockSigningKeys, nil}, {selectSigningKeys, nil}, {`SELECT ` + clock, nil}},
			func(results pgx.BatchResults) error {
				if _, err := results.Exec(); err != nil {
					return err
				}
				rows, err := results.Query()
				if err != nil {
					return err
				}
				if before, err = collect(rows, scanSigningKey); err != nil {
					return err
				}
				now, err = scanClock(results.QueryRow())
				return err
			})
		if err != nil {
			return nil, err
		}
		after, err := change(now, slices.Clone(before))
		if err != nil {
			return nil, err
		}
		statements, err := signingKeyChanges(before, after)
		if err != nil {
			return nil, err
		}
		entries, err := signinglog.Entries(audit.From(ctx), before, after)
		if err != nil {
			return nil, err
		}
		var log auditLog
		for _, e := range entries {
			if _, err := log.add(ctx, tx, now, e); err != nil {
				return nil, err
			}
		}
		return append(statements, log.entries...), nil
	})
	if err != nil {
		return fmt.Errorf("signing keys: %w", err)
	}
	return nil
}

func signingKeyChanges(before, after []issuer.SealedKey) ([]statement, error) {
	var statements []statement
	for _, k := range before {
		if !slices.ContainsFunc(after, func(kept issuer.SealedKey) bool { return kept.KID == k.KID }) {
			statements = append(statements, statement{`DELETE FROM signing_keys WHERE kid = $1`, []any{k.KID}})
		}
	}
	for _, k := range after {
		if slices.ContainsFunc(before, k.Same) {
			continue
		}
		args := []any{k.KID, k.Algorithm, k.Generation, k.PublicKey, k.Sealed}
		for _, t := range []time.Time{k.CreatedAt, k.ActivatesAt, k.RemovedAt} {
			at, err := stamp(t)
			if err != nil {
				return nil, fmt.Errorf("signing key %s: %w", k.KID, err)
			}
			args = append(args, at)
		}
		statements = append(statements, statement{putSigningKey, args})
	}
	return statements, nil
}
