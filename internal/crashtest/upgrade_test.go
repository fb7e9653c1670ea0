package crashtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/internal/store/schema"
)

// adding is a migration that old binaries can live with: to the tables that every
// charge writes, with columns of both kinds that their INSERTs leave out.
const adding = `-- +goose Up
-- +compatible %d
ALTER TABLE keys ADD COLUMN colour text;
ALTER TABLE budgets ADD COLUMN shape text NOT NULL DEFAULT 'round';
ALTER TABLE usage ADD COLUMN weight int NOT NULL DEFAULT 1;
CREATE TABLE colours (name text NOT NULL PRIMARY KEY);
CREATE INDEX keys_by_colour ON keys (colour);
`

const newerVersion = 90001

// newerBinary builds cambio as it may be some day, with a migration more, once.
var newerBinary = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	known, err := schema.Read(os.DirFS(filepath.Join(root, "internal/store/postgres/migrations")), ".")
	if err != nil {
		return "", err
	}
	sql, overlay := filepath.Join(scratch, "newer.sql"), filepath.Join(scratch, "newer.json")
	replace := map[string]string{}
	for _, store := range []string{"postgres", "sqlite"} {
		replace[filepath.Join(root, "internal/store", store, fmt.Sprintf("migrations/%d_newer.sql", newerVersion))] = sql
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = errors.Join(os.WriteFile(sql, fmt.Appendf(nil, adding, known.Newest), 0o600), os.WriteFile(overlay, text, 0o600))
	}
	if err != nil {
		return "", err
	}
	path := filepath.Join(scratch, "newer")
	out, err := exec.Command("go", "build", "-overlay", overlay, "-o", path, "github.com/cambio-auth/cambio/cmd/cambio").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// upgraded is the installation as a newer binary sees it.
func (in *installation) upgraded() *installation {
	in.t.Helper()
	path, err := newerBinary()
	if err != nil {
		in.t.Fatal(err)
	}
	next := *in
	next.binary = path
	return &next
}

// told is what cambio migrate tells of a store.
type told struct{ Before, Version, Newest, Oldest int64 }

// whole fails the test unless every charge was answered and recorded, and the
// database has the schema of the newer binary.
func (in *installation) whole(loads ...*load) {
	in.t.Helper()
	for i, l := range loads {
		l.stop()
		if n := l.unavailable.Load(); n > 0 {
			in.t.Errorf("%d exchanges were turned away by load %d", n, i+1)
		}
	}
	sum := in.balanced("at the end")
	if sum.unknown > 0 || sum.recorded != sum.acknowledged {
		in.t.Errorf("%d recorded, %d acknowledged, %d without an answer, with no fault", sum.recorded, sum.acknowledged, sum.unknown)
	}
	var now told
	in.read(&now, "migrate", "--dry-run")
	if want := (told{newerVersion, newerVersion, now.Newest, now.Newest}); now != want || now.Newest >= newerVersion {
		in.t.Errorf("the schema is %+v, want %+v", now, want)
	}
}

func TestARollingUpgradeLosesNothingAndCanBeTakenBack(t *testing.T) {
	in := install(t, pgtest.Database(t, "", nil), plenty, plenty, 700)
	next := in.upgraded()
	old := []*server{in.serve(), in.serve()}
	meanwhile := in.load(old...)
	meanwhile.more(300)
	upgraded := next.serve() // and migrates, under load
	beside := in.load(old[0], upgraded)
	beside.more(300)
	restarted := in.serve() // an old one, on the schema of the newer
	between := in.load(restarted, upgraded)
	between.more(300)
	in.read(&key{}, "key", "create") // by the old, into tables that have more columns
	next.read(&key{}, "key", "create")
	for _, l := range []*load{meanwhile, beside, between} {
		l.stop()
	}
	for _, s := range append(old, upgraded) {
		if err := s.stop(); err != nil {
			t.Errorf("a server did not end well: %v", err)
		}
	}
	back := in.load(restarted, in.serve()) // nobody is new any more
	back.more(300)
	in.whole(meanwhile, beside, between, back)
}

func TestAnUpgradeOfAFileCanBeTakenBack(t *testing.T) {
	in := onSQLite(t, plenty, 100)
	for _, version := range []*installation{in, in.upgraded(), in} {
		s := version.serve()
		l := version.load(s)
		l.more(100)
		l.stop()
		version.read(&key{}, "key", "create")
		if err := s.stop(); err != nil {
			t.Errorf("a server did not end well: %v", err)
		}
	}
	in.whole()
}

func TestProcessesThatMigrateAtOnceAllSucceed(t *testing.T) {
	for name, store := range map[string]string{
		"PostgreSQL": pgtest.Database(t, "", nil),
		"SQLite":     "sqlite:" + filepath.Join(t.TempDir(), "cambio.db"),
	} {
		t.Run(name, func(t *testing.T) {
			in := at(t, store)
			s := in.launch()
			var all sync.WaitGroup
			for range 2 {
				all.Go(func() {
					var done told
					out, err := in.command(t.Context(), "migrate", "--json").Output()
					if err != nil || json.Unmarshal(out, &done) != nil || done.Version != done.Newest || done.Version == 0 || done.Oldest == 0 {
						t.Errorf("%v: %s", err, out)
					}
				})
			}
			all.Wait()
			s.await()
		})
	}
}
