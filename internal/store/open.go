package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-auth/cambio/internal/store/postgres"
	"github.com/cambio-auth/cambio/internal/store/schema"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
)

var (
	errURL = errors.New(`CAMBIO_STORE: must be sqlite:PATH, such as "sqlite:cambio.db" or "sqlite:/var/lib/cambio/cambio.db", ` +
		`or postgres://USER:PASSWORD@HOST/DATABASE`)
	errMem = errors.New("CAMBIO_STORE: a store in memory would forget its keys; use sqlite:PATH with the path of a file")
)

// Options changes how a store is opened.
type Options struct {
	AsIs   bool            // by OpenAsIs
	Tracer pgx.QueryTracer // of PostgreSQL; nil: nothing is traced
}

// Open opens the store that url names: "sqlite:" and the path of a file, relative
// or absolute, which is made if it is not there; or a database of PostgreSQL, as
// "postgres://" or "postgresql://", which must be there and may be empty. Its errors
// name the setting CAMBIO_STORE and never hold url, which may hold a password; they
// wrap ErrAway if the database may answer later. ctx bounds the opening alone.
func Open(ctx context.Context, url string) (Store, error) { return OpenWith(ctx, url, Options{}) }

// OpenAsIs is Open for a database that somebody else migrates. It makes no file, and
// fails with schema.ErrBehind where a migration is due.
func OpenAsIs(ctx context.Context, url string) (Store, error) {
	return OpenWith(ctx, url, Options{AsIs: true})
}

// OpenWith is Open with options.
func OpenWith(ctx context.Context, url string, opts Options) (Store, error) {
	path, err := File(url)
	switch {
	case err != nil:
		return nil, err
	case path == "":
		s, err := postgres.Open(ctx, url, postgres.Options{NoMigrate: opts.AsIs, Tracer: opts.Tracer})
		if err != nil {
			return nil, mayBeAway(err)
		}
		return s, nil
	}
	s, err := sqlite.Open(ctx, path, sqlite.Options{NoMigrate: opts.AsIs})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Schema tells of the schema of the database that url names, and changes nothing.
// Its errors are those of Open.
func Schema(ctx context.Context, url string) (schema.State, error) {
	path, err := File(url)
	switch {
	case err != nil:
		return schema.State{}, err
	case path == "":
		state, err := postgres.Schema(ctx, url)
		return state, mayBeAway(err)
	}
	return sqlite.Schema(ctx, path)
}

// File returns the path of the file that url names, empty if it names a database of
// PostgreSQL. It fails for what Open would not open, and looks no further than at url.
func File(url string) (path string, err error) {
	scheme, rest, found := strings.Cut(url, ":")
	switch {
	case found && (scheme == "postgres" || scheme == "postgresql") && strings.HasPrefix(rest, "//"):
		return "", nil
	case !found || scheme != "sqlite" || !namesFile(rest):
		return "", errURL
	case strings.Contains(rest, ":memory:"):
		return "", errMem
	}
	return rest, nil
}

func mayBeAway(err error) error {
	if err != nil && postgres.Away(err) {
		return fmt.Errorf("%w (%w)", err, ErrAway)
	}
	return err
}

// namesFile refuses what is meant as something else than a path: the host of a
// URL, or a URI of SQLite's own.
func namesFile(path string) bool {
	host := strings.HasPrefix(path, "//") && !strings.HasPrefix(path, "///")
	return path != "" && !host && !strings.HasPrefix(path, "file:")
}
