package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/store/signinglog"
	"github.com/cambio-auth/cambio/issuer"
)

const (
	selectSigningKeys = `SELECT kid, algorithm, generation, public_key, sealed, created_at, activates_at, removed_at
		FROM signing_keys ORDER BY algorithm, generation`
	putSigningKey = `INSERT INTO signing_keys (kid, algorithm, generation, public_key, sealed, created_at, activates_at, removed_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (kid) DO UPDATE SET sealed = excluded.sealed, activates_at = excluded.activates_at, removed_at = excluded.removed_at`
)

// SigningKeys implements issuer.KeyStore.
func (s *Store) SigningKeys(ctx context.Context) ([]issuer.SealedKey, time.Time, error) {
	rows, err := s.read.QueryContext(ctx, selectSigningKeys)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("listing signing keys: %w", err)
	}
	keys, err := collect(rows, scanSigningKey)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("listing signing keys: %w", err)
	}
	return keys, s.now(), nil
}

func scanSigningKey(row scanner) (k issuer.SealedKey, err error) {
	return k, row.Scan(&k.KID, &k.Algorithm, &k.Generation, &k.PublicKey, &k.Sealed,
		stampTo{&k.CreatedAt}, stampTo{&k.ActivatesAt}, stampTo{&k.RemovedAt})
}

// ChangeSigningKeys implements issuer.KeyStore.
func (s *Store) ChangeSigningKeys(ctx context.Context, change func(now time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error)) error {
	err := s.write.do(ctx, func(tx *transaction) error {
		return s.newChange(tx).changeSigningKeys(ctx, change)
	})
	if err != nil {
		return fmt.Errorf("signing keys: %w", err)
	}
	return nil
}

func (c *change) changeSigningKeys(ctx context.Context, change func(now time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error)) error {
	rows, err := c.query(ctx, selectSigningKeys)
	if err != nil {
		return err
	}
	before, err := collect(rows, scanSigningKey)
	if err != nil {
		return err
	}
	after, err := change(c.now, slices.Clone(before))
	if err != nil {
		return err
	}
	if err := putSigningKeys(ctx, c.transaction, before, after); err != nil {
		return err
	}
	entries, err := signinglog.Entries(audit.From(ctx), before, after)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := c.Log(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// putSigningKeys writes what is another in after than in before.
func putSigningKeys(ctx context.Context, tx *transaction, before, after []issuer.SealedKey) error {
	for _, k := range before {
		if slices.ContainsFunc(after, func(kept issuer.SealedKey) bool { return kept.KID == k.KID }) {
			continue
		}
		if _, err := tx.exec(ctx, `DELETE FROM signing_keys WHERE kid = ?`, k.KID); err != nil {
			return err
		}
	}
	for _, k := range after {
		if slices.ContainsFunc(before, k.Same) {
			continue
		}
		_, err := tx.exec(ctx, putSigningKey, k.KID, k.Algorithm, k.Generation, k.PublicKey, k.Sealed,
			stamp(k.CreatedAt), stamp(k.ActivatesAt), stamp(k.RemovedAt))
		if err != nil {
			return errors.Join(fmt.Errorf("signing key %s", k.KID), err)
		}
	}
	return nil
}
