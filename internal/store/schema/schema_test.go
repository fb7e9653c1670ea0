package schema_test

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cambio-auth/cambio/internal/store/schema"
)

func files(texts map[string]string) fs.FS {
	dir := fstest.MapFS{}
	for name, text := range texts {
		dir["m/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	return dir
}

func TestRead(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  schema.Versions
		err   string
	}{
		"a migration that says nothing takes no older binary": {
			files: map[string]string{"00001_a.sql": "-- +goose Up\n", "00002_b.sql": "-- +goose Up\n"},
			want:  schema.Versions{Newest: 2, Oldest: 2},
		},
		"a migration takes the binaries that it says it takes": {
			files: map[string]string{"00001_a.sql": "", "00002_b.sql": "-- +goose Up\n-- +compatible 1\n"},
			want:  schema.Versions{Newest: 2, Oldest: 1},
		},
		"of several migrations, the one that takes the fewest decides": {
			files: map[string]string{"00001_a.sql": "", "00002_b.sql": "", "00003_c.sql": "-- +compatible 2\n", "00004_d.sql": "-- +compatible 1\n"},
			want:  schema.Versions{Newest: 4, Oldest: 2},
		},
		"none of itself or later": {
			files: map[string]string{"00001_a.sql": "", "00002_b.sql": "-- +compatible 2\n"},
			err:   "only with versions from 1 to 1",
		},
		"nor of none":                    {files: map[string]string{"00002_b.sql": "-- +compatible 0\n"}, err: "only with versions"},
		"nor of more than a number":      {files: map[string]string{"00002_b.sql": "-- +compatible 99999999999999999999\n"}, err: "only with versions"},
		"once only":                      {files: map[string]string{"00003_b.sql": "-- +compatible 1\n-- +compatible 2\n"}, err: "more than once"},
		"a line that is nearly right":    {files: map[string]string{"00003_b.sql": "--compatible with 2\n"}, err: "on a line of its own"},
		"a line with more behind it":     {files: map[string]string{"00003_b.sql": "-- +compatible 2, we hope\n"}, err: "on a line of its own"},
		"a name without its five digits": {files: map[string]string{"3_b.sql": ""}, err: "want a name such as"},
		"something else than SQL":        {files: map[string]string{"00003_b.go": ""}, err: "want a name such as"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := schema.Read(files(test.files), "m")
			if test.err == "" && (err != nil || got != test.want) {
				t.Errorf("%+v, %v, want %+v", got, err, test.want)
			}
			if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("%v, want an error with %q", err, test.err)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		version, needs int64
		check, ready   string // in its error; empty: there is none
		behind         bool
	}{
		"an empty database":                         {ready: "it is empty", behind: true},
		"one that is behind":                        {version: 3, needs: 3, ready: "its schema is version 3, this binary needs 4", behind: true},
		"one that is up to date":                    {version: 4, needs: 4},
		"one that was up to date before it said so": {version: 4},
		"one whose migration has begun":             {version: 4, needs: 5},
		"a newer one that takes this binary":        {version: 6, needs: 4},
		"a newer one that takes older ones, too":    {version: 6, needs: 2},
		"a newer one that does not":                 {version: 6, needs: 5, check: "takes binaries that know 5 or later", ready: "takes binaries that know 5 or later"},
		"a newer one that does not say":             {version: 6, check: "run the newer binary that made it", ready: "run the newer binary that made it"},
	} {
		t.Run(name, func(t *testing.T) {
			s := schema.State{Versions: schema.Versions{Newest: 4, Oldest: 4}, Version: test.version, Needs: test.needs}
			says(t, s.Check(), test.check)
			says(t, s.Ready(), test.ready)
			if s.Behind() != test.behind || errors.Is(s.Ready(), schema.ErrBehind) != test.behind {
				t.Errorf("behind: %v, and when ready %v", s.Behind(), s.Ready())
			}
		})
	}
}

func says(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
		t.Errorf("%v, want an error with %q", err, want)
	}
}

// additions are the statements that old binaries can live with.
var additions = []*regexp.Regexp{
	regexp.MustCompile(`^CREATE TABLE \w+ \(`),
	regexp.MustCompile(`^CREATE INDEX \w+ ON `), // not UNIQUE: an old binary's INSERT could fail
	regexp.MustCompile(`^ALTER TABLE \w+ ADD COLUMN [^,]+(, ADD COLUMN [^,]+)*$`),
	regexp.MustCompile(`^(INSERT INTO|UPDATE) `), // of what they do not know, which whoever writes it must see to
}

// inner is what stands in parentheses, as the condition of a CHECK.
var inner = regexp.MustCompile(`\([^()]*\)`)

// onlyAdds returns the first statement of a migration that takes something from old
// binaries, or nothing.
func onlyAdds(text string) string {
	text = regexp.MustCompile(`--[^\n]*`).ReplaceAllString(text, "")
	for statement := range strings.SplitSeq(text, ";") {
		statement = strings.Join(strings.Fields(statement), " ")
		for strings.HasPrefix(statement, "ALTER") && inner.MatchString(statement) {
			statement = inner.ReplaceAllString(statement, "")
		}
		if statement != "" && !added(statement) {
			return statement
		}
	}
	return ""
}

func added(statement string) bool {
	for column := range strings.SplitSeq(statement, "ADD COLUMN") {
		if strings.HasPrefix(statement, "ALTER") && strings.Contains(column, "NOT NULL") && !strings.Contains(column, "DEFAULT") {
			return false
		}
	}
	for _, addition := range additions {
		if addition.MatchString(statement) {
			return true
		}
	}
	return false
}

func TestMigrationsThatTakeOldBinariesOnlyAdd(t *testing.T) {
	for _, dir := range []string{"../postgres/migrations", "../sqlite/migrations"} {
		if _, err := schema.Read(os.DirFS(dir), "."); err != nil {
			t.Error(err)
		}
		paths, err := fs.Glob(os.DirFS(dir), "*.sql")
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v, %v", dir, paths, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(dir + "/" + path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "-- +compatible ") {
				if bad := onlyAdds(string(text)); bad != "" {
					t.Errorf("%s/%s says that old binaries may run on it: %s", dir, path, bad)
				}
			}
		}
	}
}

func TestOnlyAdditionsPass(t *testing.T) {
	for statement, good := range map[string]bool{
		"-- more; of it\nCREATE TABLE t (a int NOT NULL);\nCREATE INDEX i ON t (a);":   true,
		"ALTER TABLE t\n\tADD COLUMN a int,\n\tADD COLUMN b text NOT NULL DEFAULT '';": true,
		"ALTER TABLE t ADD COLUMN a int NOT NULL DEFAULT 0 CHECK ((a) IN (0, 1));":     true,
		"ALTER TABLE t ADD COLUMN a int NOT NULL;":                                     false,
		"ALTER TABLE t ADD COLUMN a int DEFAULT 1, ADD COLUMN b int NOT NULL;":         false,
		"ALTER TABLE t DROP COLUMN a;":                                                 false,
		"ALTER TABLE t ADD COLUMN a int, DROP COLUMN b;":                               false,
		"ALTER TABLE t RENAME COLUMN a TO b;":                                          false,
		"CREATE TABLE u (a int); DROP TABLE t;":                                        false,
		"CREATE UNIQUE INDEX i ON t (a);":                                              false,
		"DELETE FROM t;":                                                               false,
	} {
		if (onlyAdds(statement) == "") != good {
			t.Errorf("%q: %q", statement, onlyAdds(statement))
		}
	}
}
