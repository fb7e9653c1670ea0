package load

import (
	"context"
	"errors"
	"fmt"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

// WithStore opens a store for as long as do runs.
func WithStore(ctx context.Context, url string, do func(ctx context.Context, db store.Store) error) (err error) {
	db, err := store.Open(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(ctx, db)
}

// Plant stores the client and the keys of f.
func Plant(ctx context.Context, url string, f Fixture) error {
	return WithStore(ctx, url, func(ctx context.Context, db store.Store) error {
		recs := make([]manage.KeyRecord, len(f.Keys))
		for i := range f.Keys {
			key, budget := f.Record(i)
			recs[i] = manage.KeyRecord{Record: verifier.Record{Key: key, Budget: &budget}}
		}
		return db.Change(ctx, func(ctx context.Context, tx manage.Tx) error {
			return errors.Join(tx.AddClient(ctx, f.Client()), tx.AddKeys(ctx, recs))
		})
	})
}

// Recorded returns the grants that a store counted, and the uses that the
// budgets of f lost. It fails if anything but such grants was counted.
func Recorded(ctx context.Context, url string, f Fixture) (grants, spent int64, err error) {
	err = WithStore(ctx, url, func(ctx context.Context, db store.Store) error {
		points, err := db.Usage(ctx, usage.Query{Client: clientID})
		if err != nil {
			return err
		}
		for _, p := range points {
			if p.Outcome != usage.Granted || p.Requests != p.Cost {
				return fmt.Errorf("counted %+v", p)
			}
			grants += p.Requests
		}
		for i := range f.Keys {
			key, _ := f.Record(i)
			rec, _, err := db.Key(ctx, key.ID)
			if err != nil {
				return err
			}
			spent += uses - rec.Budget.Remaining
		}
		return nil
	})
	return grants, spent, err
}
