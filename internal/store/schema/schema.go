// Package schema decides which binaries may run on which version of a database's
// schema. How versions are kept and migrations run is for the stores.
//
// # Why a database says what is the oldest
//
// In a rolling upgrade the first new replica migrates, and old ones go on beside it
// and may be started again. An old binary cannot know whether it can live with
// migrations that it has never seen, so the database tells it: the migration says
// so when it is written, and the binary that runs it records it.
//
// A migration that old binaries can live with has a line of its own,
//
//	-- +compatible 4
//
// which says that binaries that know version 4 and none above may run on it. Such a
// migration only adds: tables, indexes, and columns that are NULL or have a default,
// so that the INSERTs of old binaries go on working. A migration without the line
// takes no binary older than itself.
package schema

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
)

// Versions are what a binary knows, by its migrations.
type Versions struct {
	Newest int64 // that it knows
	Oldest int64 // what a binary must know at least to run on the newest
}

var (
	numbered   = regexp.MustCompile(`^([0-9]{5})_[a-z0-9_]+\.sql$`)
	compatible = regexp.MustCompile(`(?m)^-- \+compatible ([0-9]+)$`)
	nearly     = regexp.MustCompile(`(?im)^\s*--\s*\+?\s*compatible\b`)
)

// Read reads the migrations in the directory. It fails if one of them is not
// named NNNNN_words.sql, or if its line about compatibility makes no sense.
func Read(migrations fs.FS, dir string) (v Versions, err error) {
	entries, err := fs.ReadDir(migrations, dir)
	if err != nil {
		return Versions{}, err
	}
	for _, entry := range entries { // sorted by name, so by number
		m := numbered.FindStringSubmatch(entry.Name())
		if m == nil {
			return Versions{}, fmt.Errorf("migration %s: want a name such as 00007_words.sql", entry.Name())
		}
		text, err := fs.ReadFile(migrations, path.Join(dir, entry.Name()))
		if err != nil {
			return Versions{}, err
		}
		number, _ := strconv.ParseInt(m[1], 10, 64) // five digits
		oldest, err := oldestFor(number, text)
		if err != nil {
			return Versions{}, fmt.Errorf("migration %s: %w", entry.Name(), err)
		}
		v.Newest, v.Oldest = number, max(v.Oldest, oldest)
	}
	return v, nil
}

// oldestFor returns what a binary must know at least to live with one migration.
func oldestFor(number int64, text []byte) (int64, error) {
	lines := compatible.FindAllSubmatch(text, -1)
	switch {
	case len(lines) != len(nearly.FindAll(text, -1)):
		return 0, errors.New(`write "-- +compatible N", on a line of its own`)
	case len(lines) == 0:
		return number, nil
	case len(lines) > 1:
		return 0, errors.New("it says more than once what it is compatible with")
	}
	oldest, err := strconv.ParseInt(string(lines[0][1]), 10, 64)
	if err != nil || oldest < 1 || oldest >= number {
		return 0, fmt.Errorf("it can be compatible only with versions from 1 to %d", number-1)
	}
	return oldest, nil
}

// State is the schema of a database, as a binary sees it.
type State struct {
	Versions       // of the binary
	Version  int64 // of the database; 0: it is empty
	Needs    int64 // what the database says that a binary must know at least; 0: it does not say
}

// Behind reports whether migrations are due.
func (s State) Behind() bool { return s.Version < s.Newest }

// Ahead reports whether a newer binary has migrated.
func (s State) Ahead() bool { return s.Version > s.Newest }

// Check fails if the binary must not run on the database, nor migrate it: it is
// ahead, and does not say that it takes this binary.
func (s State) Check() error {
	switch {
	case !s.Ahead() || (s.Needs > 0 && s.Needs <= s.Newest):
		return nil
	case s.Needs == 0:
		return fmt.Errorf("its schema is version %d and this binary knows none above %d; run the newer binary that made it",
			s.Version, s.Newest)
	}
	return fmt.Errorf("its schema is version %d, which takes binaries that know %d or later, and this binary knows none above %d; run a newer binary, or restore the backup from before the upgrade",
		s.Version, s.Needs, s.Newest)
}

// ErrBehind is wrapped by errors of opening a database that needs migrations, for
// those who leave it as it is.
var ErrBehind = errors.New("run cambio migrate, or leave CAMBIO_MIGRATE on")

// Ready is Check for a binary that does not migrate.
func (s State) Ready() error {
	switch {
	case s.Version == 0:
		return fmt.Errorf("it is empty, and may not be migrated here: %w", ErrBehind)
	case s.Behind():
		return fmt.Errorf("its schema is version %d, this binary needs %d and may not migrate it: %w", s.Version, s.Newest, ErrBehind)
	}
	return s.Check()
}
