package bench

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

// withStore opens a store for as long as do runs.
func withStore(tb testing.TB, url string, do func(ctx context.Context, db store.Store) error) {
	tb.Helper()
	ctx := context.Background()
	db, err := store.Open(ctx, url)
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	if err := do(ctx, db); err != nil {
		tb.Fatal(err)
	}
}

// plant stores what is in f.
func plant(tb testing.TB, url string, f fixture) {
	tb.Helper()
	withStore(tb, url, func(ctx context.Context, db store.Store) error {
		recs := make([]manage.KeyRecord, len(f.Keys))
		for i := range f.Keys {
			key, budget := f.record(i)
			recs[i] = manage.KeyRecord{Record: verifier.Record{Key: key, Budget: &budget}}
		}
		return db.Change(ctx, func(ctx context.Context, tx manage.Tx) error {
			return errors.Join(tx.AddClient(ctx, f.client()), tx.AddKeys(ctx, recs))
		})
	})
}

// recorded returns the grants that a store counted, and the uses that the
// budgets of f lost.
func recorded(tb testing.TB, url string, f fixture) (grants, spent int64) {
	tb.Helper()
	withStore(tb, url, func(ctx context.Context, db store.Store) error {
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
			key, _ := f.record(i)
			rec, _, err := db.Key(ctx, key.ID)
			if err != nil {
				return err
			}
			spent += uses - rec.Budget.Remaining
		}
		return nil
	})
	return grants, spent
}
