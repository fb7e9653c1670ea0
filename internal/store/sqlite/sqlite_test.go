package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/internal/store/storetest"
	"github.com/cambio-auth/cambio/verifier"
)

func TestSQLite(t *testing.T) {
	defer goleak.VerifyNone(t)
	storetest.Run(t, func(t *testing.T) storetest.Database {
		path := filepath.Join(t.TempDir(), "cambio.db")
		var shift atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }
		return storetest.Database{
			Open: func(ctx context.Context) (store.Store, error) {
				return sqlite.Open(ctx, path, sqlite.Options{Now: now, StatusListSize: storetest.StatusListSize})
			},
			Shift: func(_ context.Context, by time.Duration) error {
				shift.Add(int64(by))
				return nil
			},
		}
	})
}

// open opens a store that the test closes.
func open(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// addKeys stores n keys, each with this many uses, and returns their digests.
// Key i is id(i).
func addKeys(t testing.TB, s *sqlite.Store, n int, uses int64) []verifier.Digest {
	t.Helper()
	digests := make([]verifier.Digest, n)
	for i := range digests {
		digests[i] = verifier.NewSecret(secret(i)).Digest()
		err := storetest.AddKey(t.Context(), s,
			verifier.Key{ID: id(i), Digest: digests[i], Keyspace: "default", State: verifier.Active},
			verifier.Budget{ID: verifier.BudgetID(id(i)), Counted: true, Remaining: uses})
		if err != nil {
			t.Fatal(err)
		}
	}
	return digests
}

func id(i int) verifier.KeyID { return verifier.KeyID(fmt.Sprintf("key_%d", i)) }
func secret(i int) string     { return fmt.Sprintf("imported-%d", i) }

func remaining(t *testing.T, s *sqlite.Store, i int) int64 {
	t.Helper()
	rec, _, err := s.Key(t.Context(), id(i))
	if err != nil {
		t.Fatal(err)
	}
	return rec.Budget.Remaining
}

// take returns a decide that takes n uses from every key.
func take(n int64) func(time.Time, []*verifier.Record) {
	return func(_ time.Time, found []*verifier.Record) {
		for _, rec := range found {
			rec.Budget.Remaining -= n
		}
	}
}

func TestEveryConnectionIsDurableAndChecksReferences(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "cambio.db"))
	const wal, full = "wal", 2
	err := s.Connections(t.Context(), func(conn *sql.Conn) error {
		var mode string
		var synchronous, references, timeout int
		err := errors.Join(
			conn.QueryRowContext(t.Context(), `PRAGMA journal_mode`).Scan(&mode),
			conn.QueryRowContext(t.Context(), `PRAGMA synchronous`).Scan(&synchronous),
			conn.QueryRowContext(t.Context(), `PRAGMA foreign_keys`).Scan(&references),
			conn.QueryRowContext(t.Context(), `PRAGMA busy_timeout`).Scan(&timeout),
		)
		if mode != wal || synchronous != full || references != 1 || timeout != 60000 {
			t.Errorf("journal_mode %s, synchronous %d, foreign_keys %d, busy_timeout %d", mode, synchronous, references, timeout)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesOfANewDatabaseAreForTheirOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio.db")
	addKeys(t, open(t, path), 1, 1)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", info.Name(), info.Mode())
		}
	}
}

func TestARefusalWritesNothingAndAGrantWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio.db")
	s := open(t, path)
	digests := addKeys(t, s, 2, 5)
	unknown := verifier.NewSecret("nobody").Digest()
	log := func() []byte {
		t.Helper()
		b, err := os.ReadFile(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	before := log()
	for range 10 {
		err := update(t.Context(), s, append(digests, unknown), func(now time.Time, found []*verifier.Record) {
			for _, rec := range found {
				if _, err := verifier.Decide(now, rec, nil, verifier.Request{Cost: 6}); !errors.Is(err, verifier.ErrRefused) {
					t.Errorf("decided %v", err)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(log(), before) {
		t.Error("a refusal wrote to the log")
	}
	if err := update(t.Context(), s, digests, take(1)); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(log(), before) {
		t.Error("a grant wrote nothing to the log")
	}
}

func TestOfAGroupOnlyTheChangedBudgetsAreWritten(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "cambio.db"))
	digests := addKeys(t, s, 4, 5)
	err := s.OnWriter(t.Context(), func(conn *sql.Conn) error {
		_, err := conn.ExecContext(t.Context(), `CREATE TEMP TABLE written (id TEXT);
			CREATE TEMP TRIGGER count_writes AFTER UPDATE ON main.budgets BEGIN INSERT INTO written VALUES (new.id); END`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = update(t.Context(), s, append(digests, digests[2]), func(_ time.Time, found []*verifier.Record) {
		found[1].Budget.Remaining-- // and back: as it was
		found[1].Budget.Remaining++
		found[3].Budget.TAT = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		found[2].Budget.Remaining--
		found[4].Budget.Remaining--
	})
	if err != nil {
		t.Fatal(err)
	}
	var written string
	err = s.OnWriter(t.Context(), func(conn *sql.Conn) error {
		return conn.QueryRowContext(t.Context(), `SELECT group_concat(id, ' ' ORDER BY id) FROM written`).Scan(&written)
	})
	if err != nil || written != "key_2 key_3" {
		t.Errorf("written: %s, %v; want key_2 key_3", written, err)
	}
}

func TestACommitThatFailsForAKnownReasonIsRolledBack(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "cambio.db"))
	digests := addKeys(t, s, 1, 5)
	err := s.FailCommit(t.Context())
	if err == nil || errors.Is(err, verifier.ErrOutcomeUnknown) {
		t.Errorf("error is %v, want one that is certain", err)
	}
	if err := update(t.Context(), s, digests, take(1)); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyErrorsKnownNotToHaveCommittedAreCertain(t *testing.T) {
	for code, certain := range map[int]bool{
		sqlite3.SQLITE_FULL:                  true,
		sqlite3.SQLITE_BUSY:                  true,
		sqlite3.SQLITE_BUSY_SNAPSHOT:         true,
		sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: true,
		sqlite3.SQLITE_READONLY:              true,
		sqlite3.SQLITE_IOERR_FSYNC:           false,
		sqlite3.SQLITE_IOERR_WRITE:           false,
		sqlite3.SQLITE_INTERRUPT:             false,
		sqlite3.SQLITE_CORRUPT:               false,
		sqlite3.SQLITE_NOMEM:                 false,
		0:                                    false, // not SQLite's: a broken connection
	} {
		if sqlite.SurelyUncommitted(code) != certain {
			t.Errorf("code %d: certain is %t, want %t", code, !certain, certain)
		}
	}
}

func TestTheClockIsTheOptions(t *testing.T) {
	zone := time.FixedZone("", 7200)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 1, zone)
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "cambio.db"), sqlite.Options{Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	digests := addKeys(t, s, 1, 5)
	want := func(now time.Time) {
		t.Helper()
		if now != noon.UTC() {
			t.Errorf("now is %v, want %v", now, noon.UTC())
		}
	}
	if err := update(t.Context(), s, digests, func(now time.Time, _ []*verifier.Record) { want(now) }); err != nil {
		t.Fatal(err)
	}
	_, now, err := s.Key(t.Context(), id(0))
	if err != nil {
		t.Fatal(err)
	}
	want(now)
}

func BenchmarkUpdate(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "cambio.db"))
	digests := addKeys(b, s, 256, 1<<40)
	for name, uses := range map[string]int64{"refused": 0, "granted": 1} {
		for _, n := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("%s/keys=%d", name, n), func(b *testing.B) {
				for b.Loop() {
					if err := update(b.Context(), s, digests[:n], take(uses)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// update is an Update of keys alone.
func update(ctx context.Context, s verifier.Store, digests []verifier.Digest, decide func(time.Time, []*verifier.Record)) error {
	return s.Update(ctx, verifier.Lookup{Digests: digests}, func(now time.Time, found verifier.Found) { decide(now, found.Records) })
}
