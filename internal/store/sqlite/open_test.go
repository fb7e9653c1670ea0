package sqlite_test

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/internal/store/storetest"
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

// wrongFile is something at a path that Open must refuse and leave as it is.
type wrongFile struct {
	file  string // in a new directory; empty: cambio.db
	setUp func(t *testing.T, path string)
	want  string
}

var wrongFiles = map[string]wrongFile{
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
			query(t, path, `INSERT INTO schema_version (version_id, is_applied) VALUES (99, 1); PRAGMA user_version = 99; SELECT 1`)
		},
		want: "its schema is version 99, which takes binaries that know 99 or later, and this binary knows none above ",
	},
	"a newer schema of a binary that did not say what it takes": {
		setUp: func(t *testing.T, path string) {
			closed(t, path)
			query(t, path, `INSERT INTO schema_version (version_id, is_applied) VALUES (99, 1); PRAGMA user_version = 0; SELECT 1`)
		},
		want: "its schema is version 99 and this binary knows none above ",
	},
	"a newer schema whose last changes are in the log": {
		setUp: func(t *testing.T, path string) {
			live := filepath.Join(t.TempDir(), "live.db")
			open(t, live)
			query(t, live, `INSERT INTO schema_version (version_id, is_applied) VALUES (99, 1); PRAGMA user_version = 99; SELECT 1`)
			for _, suffix := range []string{"", "-wal"} {
				write(t, path+suffix, read(live+suffix))
			}
		},
		want: "its schema is version 99, which takes binaries that know 99 or later, and this binary knows none above ",
	},
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// read returns what is in a file, nothing if it cannot be read.
func read(path string) []byte {
	content, _ := os.ReadFile(path)
	return content
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	for name, c := range wrongFiles {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), cmp.Or(c.file, "cambio.db"))
			if c.setUp != nil {
				c.setUp(t, path)
			}
			file, log := read(path), read(path+"-wal")
			s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			wantMessage(t, err, path, c.want)
			if !bytes.Equal(read(path), file) || !bytes.Equal(read(path+"-wal"), log) {
				t.Error("the file or its log was changed")
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
	err := update(t.Context(), s, nil, func(time.Time, []*verifier.Record) {
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
	err := storetest.AddKey(t.Context(), s, big, verifier.Budget{ID: "big"})
	if err == nil || errors.Is(err, verifier.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "full") {
		t.Errorf("error is %v, want a certain one that says full", err)
	}
	if err := update(t.Context(), s, digests, take(1)); err != nil {
		t.Errorf("a charge, which needs no room: %v", err)
	}
	limit(1 << 20)
	if err := storetest.AddKey(t.Context(), s, big, verifier.Budget{ID: "big"}); err != nil {
		t.Error(err)
	}
}
