package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-auth/cambio/issuer"
)

// SigningKeys implements issuer.KeyStore.
func (s *Store) SigningKeys(ctx context.Context) ([]issuer.SealedKey, error) {
	keys, err := query(ctx, s, func(row pgx.CollectableRow) (k issuer.SealedKey, err error) {
		var created pgtype.Int8
		err = row.Scan(&k.KID, &k.Algorithm, &k.PublicKey, &k.Sealed, &created)
		k.CreatedAt = stamped(created)
		return k, err
	}, `SELECT kid, algorithm, public_key, sealed, created_at FROM signing_keys ORDER BY created_at NULLS FIRST, kid`)
	if err != nil {
		return nil, fmt.Errorf("listing signing keys: %w", err)
	}
	return keys, nil
}

// AddFirstSigningKey implements issuer.KeyStore. Of several servers that find no
// key, all add generation 0, and the unique index lets one of them.
func (s *Store) AddFirstSigningKey(ctx context.Context, k issuer.SealedKey) (stored bool, err error) {
	created, err := stamp(k.CreatedAt)
	if err != nil {
		return false, fmt.Errorf("adding signing key %s: %w", k.KID, err)
	}
	err = s.transact(ctx, func(tx *transaction) ([]statement, error) {
		affected, err := tx.write(ctx, statement{
			`INSERT INTO signing_keys (kid, algorithm, generation, public_key, sealed, created_at)
				SELECT $1::text, $2::text, 0, $3::bytea, $4::bytea, $5::bigint
				WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE algorithm = $2::text)
				ON CONFLICT (algorithm, generation) DO NOTHING`,
			[]any{k.KID, k.Algorithm, k.PublicKey, k.Sealed, created},
		})
		stored = err == nil && affected[0] == 1
		return nil, err
	})
	if err != nil {
		return false, fmt.Errorf("adding signing key %s: %w", k.KID, err)
	}
	return stored, nil
}
