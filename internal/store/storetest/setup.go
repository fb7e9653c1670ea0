package storetest

import (
	"context"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

// AddKey stores a key with the budget that it brings, in a transaction of its own.
func AddKey(ctx context.Context, s manage.Changer, key verifier.Key, budget verifier.Budget) error {
	return s.Change(ctx, func(ctx context.Context, tx manage.Tx) error {
		return tx.AddKeys(ctx, []manage.KeyRecord{keyRecord(key, budget)})
	})
}

func keyRecord(key verifier.Key, budget verifier.Budget) manage.KeyRecord {
	return manage.KeyRecord{Record: verifier.Record{Key: key, Budget: &budget}}
}

// ChangeKey lets change alter a key, in a transaction of its own. It fails with
// manage.ErrNotFound.
func ChangeKey(ctx context.Context, s manage.Changer, id verifier.KeyID, change func(now time.Time, key *verifier.Key) error) error {
	return s.Change(ctx, func(ctx context.Context, tx manage.Tx) error {
		rec, err := lockKey(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := change(tx.Now(), &rec.Key); err != nil {
			return err
		}
		return tx.SaveKey(ctx, rec)
	})
}

func lockKey(ctx context.Context, tx manage.KeyTx, id verifier.KeyID) (manage.KeyRecord, error) {
	found, err := tx.LockKeys(ctx, []verifier.KeyID{id})
	if err == nil && len(found) == 0 {
		err = manage.ErrNotFound
	}
	if err != nil {
		return manage.KeyRecord{}, err
	}
	return found[0], nil
}

// VoidKeys is that of manage.KeyTx, in a transaction of its own.
func VoidKeys(ctx context.Context, s manage.Changer, ids []verifier.KeyID) (n int, err error) {
	err = s.Change(ctx, func(ctx context.Context, tx manage.Tx) (err error) {
		n, err = tx.VoidKeys(ctx, ids)
		return err
	})
	return n, err
}

// AddKeyspace is that of manage.KeyspaceTx, in a transaction of its own.
func AddKeyspace(ctx context.Context, s manage.Changer, ks verifier.Keyspace) error {
	return s.Change(ctx, func(ctx context.Context, tx manage.Tx) error { return tx.AddKeyspace(ctx, ks) })
}

// VoidKeyspaces is that of manage.KeyspaceTx, in a transaction of its own.
func VoidKeyspaces(ctx context.Context, s manage.Changer, name string) (n int, err error) {
	err = s.Change(ctx, func(ctx context.Context, tx manage.Tx) (err error) {
		n, err = tx.VoidKeyspaces(ctx, name)
		return err
	})
	return n, err
}

// AddClient is that of manage.ClientTx, in a transaction of its own.
func AddClient(ctx context.Context, s manage.Changer, c client.Client) error {
	return s.Change(ctx, func(ctx context.Context, tx manage.Tx) error { return tx.AddClient(ctx, c) })
}
