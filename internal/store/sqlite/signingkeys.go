package sqlite

import (
	"context"
	"fmt"

	"github.com/cambio-auth/cambio/issuer"
)

// SigningKeys implements issuer.KeyStore.
func (s *Store) SigningKeys(ctx context.Context) ([]issuer.SealedKey, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT kid, algorithm, public_key, sealed, created_at
		FROM signing_keys ORDER BY created_at, kid`)
	if err != nil {
		return nil, fmt.Errorf("listing signing keys: %w", err)
	}
	keys, err := collect(rows, func(row scanner) (k issuer.SealedKey, err error) {
		return k, row.Scan(&k.KID, &k.Algorithm, &k.PublicKey, &k.Sealed, stampTo{&k.CreatedAt})
	})
	if err != nil {
		return nil, fmt.Errorf("listing signing keys: %w", err)
	}
	return keys, nil
}

// AddFirstSigningKey implements issuer.KeyStore.
func (s *Store) AddFirstSigningKey(ctx context.Context, k issuer.SealedKey) (stored bool, err error) {
	err = s.write.do(ctx, func(tx *transaction) error {
		n, err := tx.exec(ctx, `INSERT INTO signing_keys (kid, algorithm, public_key, sealed, created_at)
			SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE algorithm = ?2)`,
			k.KID, k.Algorithm, k.PublicKey, k.Sealed, stamp(k.CreatedAt))
		stored = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("adding signing key %s: %w", k.KID, err)
	}
	return stored, nil
}
