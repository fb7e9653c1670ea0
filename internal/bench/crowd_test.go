package bench

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"modernc.org/sqlite"

	"github.com/cambio-auth/cambio/internal/load"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/verifier"
)

// crowded are n keys of a form that SQL can make, which is an imported one.
func crowded(n int) load.Keys {
	return load.Keys{N: n, Append: func(dst []byte, i int) []byte {
		dst = append(dst, "crowd-00000000000000000000000000000000000"...)
		for at := len(dst) - 1; i > 0; at, i = at-1, i/10 {
			dst[at] = byte('0' + i%10)
		}
		return dst
	}}
}

func init() {
	sqlite.MustRegisterDeterministicScalarFunction("bench_sha256", 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		sum := sha256.Sum256([]byte(args[0].(string)))
		return sum[:], nil
	})
}

// The digest of the i-th crowded key.
const (
	digestInSQLite   = `bench_sha256(printf('crowd-%035d', i))`
	digestInPostgres = `sha256(convert_to('crowd-' || lpad(i::text, 35, '0'), 'UTF8'))`
)

// plantCrowd stores n keys, far faster than one at a time: the store itself
// stores the first, and SQL copies it.
func plantCrowd(tb testing.TB, url string, f load.Fixture, n int) {
	tb.Helper()
	err := load.WithStore(tb.Context(), url, func(ctx context.Context, db store.Store) error {
		key, budget := f.Record(0)
		key.Keyspace = "crowd"
		key.Digest = verifier.NewSecret(string(crowded(n).Append(nil, 0))).Digest()
		err := db.Change(ctx, func(ctx context.Context, tx manage.Tx) error {
			return errors.Join(
				tx.AddKeyspace(ctx, verifier.Keyspace{Name: key.Keyspace, Prefix: "ck", ImportedKeys: true}),
				tx.AddClient(ctx, f.Client()),
				tx.AddKeys(ctx, []manage.KeyRecord{{Record: verifier.Record{Key: key, Budget: &budget}}}),
			)
		})
		if err != nil {
			return err
		}
		if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
			return multiplyInSQLite(ctx, path, n)
		}
		return multiplyInPostgres(ctx, url, n)
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func multiplyInSQLite(ctx context.Context, path string, n int) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	defer db.Close()
	exec := func(query string) error {
		_, err := db.ExecContext(ctx, query)
		return err
	}
	err = multiply(n, digestInSQLite, exec, func(query string) ([]string, error) {
		rows, err := db.QueryContext(ctx, query)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		columns, err := rows.Columns()
		return columns, errors.Join(err, rows.Err())
	})
	return errors.Join(err, exec(`ANALYZE`))
}

func multiplyInPostgres(ctx context.Context, url string, n int) error {
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer db.Close(ctx)
	exec := func(query string) error {
		_, err := db.Exec(ctx, query)
		return err
	}
	err = multiply(n, digestInPostgres, exec, func(query string) (columns []string, err error) {
		rows, err := db.Query(ctx, query)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for _, field := range rows.FieldDescriptions() {
			columns = append(columns, field.Name)
		}
		return columns, rows.Err()
	})
	// What the load left to do later is done now. So is what comes once after
	// each checkpoint: the first change of a page writes all of it into the log.
	return errors.Join(err, exec(`VACUUM ANALYZE`), exec(`CHECKPOINT`),
		exec(`UPDATE budgets SET tat = tat WHERE ctid::text LIKE '%,1)'`))
}

// multiply makes n keys of the one that there is, each with its own budget.
func multiply(n int, digest string, exec func(query string) error, columnsOf func(query string) ([]string, error)) error {
	for _, table := range []struct {
		name  string
		fresh map[string]string // columns that are not copied
	}{
		{"budgets", map[string]string{"id": `'bud_crowd_' || i`}},
		{"keys", map[string]string{
			"id": `'key_crowd_' || i`, "digest": digest, "owner": `'user_' || i`, "budget_id": `'bud_crowd_' || i`,
		}},
	} {
		columns, err := columnsOf(`SELECT * FROM ` + table.name + ` LIMIT 0`)
		if err != nil {
			return err
		}
		values := make([]string, len(columns))
		for i, column := range columns {
			columns[i] = `"` + column + `"`
			values[i] = columns[i]
			if fresh, ok := table.fresh[column]; ok {
				values[i] = fresh
			}
		}
		err = exec(fmt.Sprintf(
			`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %d)
			INSERT INTO %s (%s) SELECT %s FROM (SELECT * FROM %s LIMIT 1) one CROSS JOIN n`,
			n, table.name, strings.Join(columns, ", "), strings.Join(values, ", "), table.name))
		if err != nil {
			return fmt.Errorf("filling %s: %w", table.name, err)
		}
	}
	return nil
}
