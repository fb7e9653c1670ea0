package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/internal/store/storetest"
)

func TestSQLite(t *testing.T) {
	defer goleak.VerifyNone(t)
	storetest.Run(t, func(t *testing.T) storetest.Open {
		path := filepath.Join(t.TempDir(), "cambio.db")
		return func(ctx context.Context) (store.Store, error) {
			return sqlite.Open(ctx, path, sqlite.Options{})
		}
	})
}
