package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/verifier"
)

// query runs one statement on the file at path, as another program would, and
// returns the number that it selects.
func query(t *testing.T, path string, statements string) (n int64) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), statements).Scan(&n); err != nil && !errors.Is(err, sql.ErrNoRows) {
		t.Fatal(err)
	}
	return n
}

// closed makes a database with some keys in it.
func closed(t *testing.T, path string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addKeys(t, s, 5, 5)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	write := func(t *testing.T, path string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		file  string // in a new directory
		setUp func(t *testing.T, path string)
		want  string
	}{
		"a directory that is not there": {file: "no/such/x.db", want: "/no/such does not exist; create it or choose another path"},
		"a directory that is a file": {
			file:  "file/x.db",
			setUp: func(t *testing.T, path string) { write(t, filepath.Dir(path), nil) },
			want:  "/file is not a directory",
		},
		"a path that is a directory": {file: ".", want: "it is a directory; name a file in it"},
		"a file that is no database": {
			setUp: func(t *testing.T, path string) { write(t, path, []byte(strings.Repeat("dear diary, ", 1000))) },
			want:  "is not a SQLite database; choose another path",
		},
		"a short file that is no database": {
			setUp: func(t *testing.T, path string) { write(t, path, []byte("hello")) },
			want:  "is not a SQLite database; choose another path",
		},
		"a database cut short": {
			setUp: func(t *testing.T, path string) {
				closed(t, path)
				if err := os.Truncate(path, 3*4096); err != nil {
					t.Fatal(err)
				}
			},
			want: "is damaged; restore a backup",
		},
		"a database whose first page is overwritten": {
			setUp: func(t *testing.T, path string) {
				closed(t, path)
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				copy(b[100:4096], bytes.Repeat([]byte{0xa5}, 3996))
				write(t, path, b)
			},
			want: "is damaged; restore a backup",
		},
		"a database of another application": {
			setUp: func(t *testing.T, path string) {
				query(t, path, `PRAGMA application_id = 77; CREATE TABLE notes (text); SELECT 1`)
			},
			want: "it belongs to another application; choose another path",
		},
		"a database of another application, still empty": {
			setUp: func(t *testing.T, path string) { query(t, path, `PRAGMA application_id = 77; SELECT 1`) },
			want:  "it belongs to another application; choose another path",
		},
		"a database of an application that does not say its name": {
			setUp: func(t *testing.T, path string) { query(t, path, `CREATE TABLE keyspaces (name); SELECT 1`) },
			want:  "it belongs to another application; choose another path",
		},
		"a newer schema": {
			setUp: func(t *testing.T, path string) {
				closed(t, path)
				query(t, path, `INSERT INTO schema_version (version_id, is_applied) VALUES (99, 1); SELECT 1`)
			},
			want: "its schema is version 99 and this binary knows none above 1; run the newer binary that made it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.file == "" {
				c.file = "cambio.db"
			}
			path := filepath.Join(t.TempDir(), c.file)
			if c.setUp != nil {
				c.setUp(t, path)
			}
			before, _ := os.ReadFile(path)
			s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			wantMessage(t, err, path, c.want)
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func wantMessage(t *testing.T, err error, path, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "CAMBIO_STORE: sqlite:"+path+": ") || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v\nwant CAMBIO_STORE: sqlite:%s: … %s", err, path, want)
	}
}

func TestOpenSaysThatItMayNotWrite(t *testing.T) {
	asNobody := func(c *exec.Cmd) {
		if os.Getuid() == 0 { // root may write anywhere
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
	}
	for name, c := range map[string]struct {
		exists    bool
		file, dir os.FileMode
	}{
		"a new file in a read-only directory":      {dir: 0o555},
		"a read-only file":                         {exists: true, file: 0o444, dir: 0o777},
		"a writable file in a read-only directory": {exists: true, file: 0o666, dir: 0o555},
		"a file that may not be read":              {exists: true, file: 0o000, dir: 0o777},
		"a directory that may not be entered":      {exists: true, file: 0o666, dir: 0o000},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			path := filepath.Join(dir, "cambio.db")
			errs := []error{os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755), os.Mkdir(dir, 0o777)}
			if c.exists {
				closed(t, path)
				errs = append(errs, os.Chmod(path, c.file))
			}
			errs = append(errs, os.Chmod(dir, c.dir))
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(dir, 0o777) //nolint:errcheck // so that it can be removed
			wantMessage(t, start(t, "open", path, asNobody).run(), path, "must be writable by this user")
		})
	}
}

func TestOpenTakesAnEmptyFileAndOddNames(t *testing.T) {
	for _, name := range []string{"empty.db", "a b?mode=memory#%41&x.db", "ü.db", "file:x.db"} {
		path := filepath.Join(t.TempDir(), name)
		if name == "empty.db" {
			if err := os.WriteFile(path, nil, 0o640); err != nil {
				t.Fatal(err)
			}
		}
		addKeys(t, open(t, path), 1, 1)
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestOpenOfALockedFileEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cambio.db")
	s := open(t, path)
	err := s.Update(t.Context(), nil, func(time.Time, []*verifier.Record) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := sqlite.Open(ctx, path, sqlite.Options{})
		wantMessage(t, err, path, "another process kept it locked for too long")
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestADatabaseAtItsLargestRefusesAndGoesOn(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "cambio.db"))
	digests := addKeys(t, s, 1, 5)
	limit := func(pages int) {
		t.Helper()
		err := s.OnWriter(t.Context(), func(conn *sql.Conn) error {
			_, err := conn.ExecContext(t.Context(), fmt.Sprintf(`PRAGMA max_page_count = %d`, pages))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // as large as it is now
	big := verifier.Key{ID: "big", Name: strings.Repeat("x", 1<<16), Keyspace: "default", State: verifier.Active}
	err := s.CreateKey(t.Context(), big, verifier.Budget{ID: "big"})
	if err == nil || errors.Is(err, verifier.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "full") {
		t.Errorf("error is %v, want a certain one that says full", err)
	}
	if err := s.Update(t.Context(), digests, take(1)); err != nil {
		t.Errorf("a charge, which needs no room: %v", err)
	}
	limit(1 << 20)
	if err := s.CreateKey(t.Context(), big, verifier.Budget{ID: "big"}); err != nil {
		t.Error(err)
	}
}

func TestAFullDiskChargesNothingAndIsSurvived(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("mounting a small disk needs root: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH) //nolint:errcheck // nothing left to do
	path, filler := filepath.Join(dir, "cambio.db"), filepath.Join(dir, "filler")
	s := open(t, path)
	digests := addKeys(t, s, 1, 1000)
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	charged := int64(0)
	var err error
	for err == nil && charged < 1000 {
		if err = s.Update(t.Context(), digests, take(1)); err == nil {
			charged++
		}
	}
	if err == nil || errors.Is(err, verifier.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "full") {
		t.Errorf("error is %v, want a certain one that says full", err)
	}
	_, openErr := sqlite.Open(t.Context(), filepath.Join(dir, "other.db"), sqlite.Options{})
	wantMessage(t, openErr, filepath.Join(dir, "other.db"), "the disk is full")
	if left := remaining(t, s, 0); left != 1000-charged {
		t.Errorf("%d uses left after %d charges of 1000", left, charged)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), digests, take(1)); err != nil {
		t.Errorf("after making room: %v", err)
	}
	if left := remaining(t, s, 0); left != 999-charged {
		t.Errorf("%d uses left after %d charges of 1000", left, charged+1)
	}
}
