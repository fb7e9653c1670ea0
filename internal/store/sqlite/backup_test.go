package sqlite_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/restore"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/issuer"
)

func backUp(s *sqlite.Store, to string) error {
	_, err := s.Backup(context.Background(), to, nil)
	return err
}

// wantCopy fails the test unless the file is a whole copy with so many keys, and
// counts as restored.
func wantCopy(t *testing.T, path string, keys int64) *sqlite.Store {
	t.Helper()
	s := open(t, path)
	l, err := s.Lineage(t.Context())
	if err != nil || l.Why == "" {
		t.Errorf("%+v, %v", l, err)
	}
	if got := query(t, path, `SELECT count(*) FROM keys`); got != keys {
		t.Errorf("%d keys, want %d", got, keys)
	}
	if got := query(t, path, `SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'`); got != 1 {
		t.Error("it is damaged")
	}
	return s
}

func TestABackup(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "cambio.db"))
	addKeys(t, s, 50, 5)
	to := filepath.Join(dir, "copy %20 'x'.db")
	copied, err := s.Backup(t.Context(), to, func(done, of int64) {
		if done > of || of == 0 {
			t.Errorf("%d of %d", done, of)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != copied.Bytes || copied.Bytes == 0 {
		t.Errorf("%v, %+v, %v", info, copied, err)
	}
	t.Run("leaves nothing else behind", func(t *testing.T) {
		left, err := filepath.Glob(filepath.Join(dir, "copy*"))
		if err != nil || len(left) != 1 {
			t.Errorf("%v, %v", left, err)
		}
	})
	t.Run("is a whole copy that counts as restored, and the original does not", func(t *testing.T) {
		c := wantCopy(t, to, 50)
		if head, err := c.AuditHead(t.Context()); err != nil || head != copied.Head {
			t.Errorf("%v, want %v; %v", head, copied.Head, err)
		}
		if l, err := s.Lineage(t.Context()); err != nil || l.Why != "" {
			t.Errorf("%+v, %v", l, err)
		}
	})
	t.Run("of a copy is a copy", func(t *testing.T) {
		second := filepath.Join(dir, "second.db")
		if err := backUp(open(t, to), second); err != nil {
			t.Fatal(err)
		}
		wantCopy(t, second, 50)
	})
	t.Run("of confirmed data counts as restored again", func(t *testing.T) {
		c := open(t, to)
		_, err := c.BeginAnew(t.Context(), restore.Beginning{
			Entry:  audit.Entry{Action: "store.restored"},
			Change: func(_ time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error) { return keys, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		if l, err := c.Lineage(t.Context()); err != nil || l.Why != "" {
			t.Errorf("%+v, %v", l, err)
		}
		third := filepath.Join(dir, "third.db")
		if _, err := c.Backup(t.Context(), third, nil); err != nil {
			t.Fatal(err)
		}
		wantCopy(t, third, 50)
	})
	t.Run("replaces no file and follows no link", func(t *testing.T) {
		link := filepath.Join(dir, "link.db")
		if err := os.Symlink("nowhere", link); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{to, link} {
			if _, err := s.Backup(t.Context(), name, nil); !errors.Is(err, fs.ErrExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := os.Lstat(to + ".partial"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
	})
	t.Run("that is given up leaves nothing", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		gone := filepath.Join(dir, "gone.db")
		if _, err := s.Backup(ctx, gone, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		if left, _ := filepath.Glob(gone + "*"); len(left) > 0 {
			t.Errorf("%v", left)
		}
	})
}

func TestABackupIsOfOneMomentWhileOthersWrite(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "cambio.db"))
	digests := addKeys(t, s, 2, 1<<40)
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	wrote := make(chan struct{}, 1)
	writer.Go(func() {
		for ctx.Err() == nil { // both keys are charged in each transaction
			_ = update(ctx, s, digests, take(1))
			select {
			case wrote <- struct{}{}:
			default:
			}
		}
	})
	<-wrote
	for _, name := range []string{"a.db", "b.db", "c.db"} {
		to := filepath.Join(dir, name)
		if err := backUp(s, to); err != nil {
			t.Fatal(err)
		}
		c := wantCopy(t, to, 2)
		if first, second := remaining(t, c, 0), remaining(t, c, 1); first != second || first == 1<<40 {
			t.Errorf("%s: %d and %d uses", name, first, second)
		}
	}
	stop()
	writer.Wait()
}
