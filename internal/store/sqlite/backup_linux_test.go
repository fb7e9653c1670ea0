package sqlite_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/restore"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// confirmForever stops in the middle, when everything but the signing keys and the
// log is changed.
func confirmForever(s *sqlite.Store) error {
	_, err := s.BeginAnew(context.Background(), restore.Beginning{
		Entry: audit.Entry{Action: "store.restored"},
		Change: func(_ time.Time, _ []issuer.SealedKey) ([]issuer.SealedKey, error) {
			_, _ = os.Stdout.WriteString("+\n")
			select {}
		},
	})
	return err
}

func TestABackupThatIsKilledLeavesNoFileThatPassesForOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio.db")
	s := open(t, path)
	addMany(t, s, 1000)
	partial, killed := path+".copy.partial", 0
	for round := range 4 {
		c := start(t, "back up", path)
		_ = c.say.Close()
		for c.waitsFor(partial, int64(round)*100<<10) {
		}
		_ = c.Process.Kill()
		_ = c.Wait()
		if _, err := os.Lstat(partial); err == nil {
			killed++
			if err := backUp(s, path+".copy"); !errors.Is(err, fs.ErrExist) {
				t.Errorf("round %d: over what a killed backup has left: %v", round, err)
			}
		}
		if _, err := os.Lstat(path + ".copy"); err == nil {
			wantCopy(t, path+".copy", 1000)
		}
		for _, name := range []string{partial, partial + "-journal", path + ".copy", path + ".copy-wal", path + ".copy-shm"} {
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	if killed == 0 {
		t.Error("no backup was killed in the middle, so this proves nothing")
	}
}

// addMany stores n keys at once.
func addMany(t *testing.T, s *sqlite.Store, n int) {
	t.Helper()
	recs := make([]manage.KeyRecord, n)
	for i := range recs {
		recs[i].Record = verifier.Record{
			Key:    verifier.Key{ID: id(i), Digest: verifier.NewSecret(secret(i)).Digest(), Keyspace: "default", State: verifier.Active},
			Budget: &verifier.Budget{ID: verifier.BudgetID(id(i))},
		}
	}
	if err := s.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error { return tx.AddKeys(ctx, recs) }); err != nil {
		t.Fatal(err)
	}
}

// waitsFor reports whether a file is not of that size yet, and the child not done.
func (c *child) waitsFor(file string, size int64) bool {
	info, err := os.Stat(file)
	if err == nil {
		return info.Size() < size && info.Mode().Perm() == 0o600
	}
	done, _ := os.Lstat(file[:len(file)-len(".partial")])
	return done == nil
}

func TestAConfirmationThatIsKilledHasChangedNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio.db")
	s := open(t, path)
	addKeys(t, s, 1, 1)
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := backUp(s, copied); err != nil {
		t.Fatal(err)
	}
	restored := open(t, copied)
	before, err := restored.Lineage(t.Context())
	if err != nil || before.Why == "" {
		t.Fatalf("%+v, %v", before, err)
	}
	c := start(t, "confirm", copied)
	_ = c.say.Close()
	if !c.lines.Scan() {
		t.Fatal("it did not begin")
	}
	_ = c.Process.Kill()
	_ = c.Wait()
	if after, err := restored.Lineage(t.Context()); err != nil || after != before {
		t.Errorf("%+v, was %+v; %v", after, before, err)
	}
	if rec, _, err := restored.FindKey(t.Context(), id(0)); err != nil || rec.Status.Generation != 0 {
		t.Errorf("%+v, %v", rec, err)
	}
}
