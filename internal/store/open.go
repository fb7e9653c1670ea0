package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cambio-auth/cambio/internal/store/postgres"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
)

var (
	errURL = errors.New(`CAMBIO_STORE: must be sqlite:PATH, such as "sqlite:cambio.db" or "sqlite:/var/lib/cambio/cambio.db", ` +
		`or postgres://USER:PASSWORD@HOST/DATABASE`)
	errMem = errors.New("CAMBIO_STORE: a store in memory would forget its keys; use sqlite:PATH with the path of a file")
)

// Open opens the store that url names: "sqlite:" and the path of a file, relative
// or absolute, which is made if it is not there; or a database of PostgreSQL, as
// "postgres://" or "postgresql://", which must be there and may be empty. Its errors
// name the setting CAMBIO_STORE and never hold url, which may hold a password; they
// wrap ErrAway if the database may answer later. ctx bounds the opening alone.
func Open(ctx context.Context, url string) (Store, error) {
	scheme, rest, found := strings.Cut(url, ":")
	switch {
	case found && (scheme == "postgres" || scheme == "postgresql") && strings.HasPrefix(rest, "//"):
		return openPostgres(ctx, url)
	case !found || scheme != "sqlite" || !namesFile(rest):
		return nil, errURL
	case strings.Contains(rest, ":memory:"):
		return nil, errMem
	}
	s, err := sqlite.Open(ctx, rest, sqlite.Options{})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func openPostgres(ctx context.Context, url string) (Store, error) {
	s, err := postgres.Open(ctx, url, postgres.Options{})
	if err != nil && postgres.Away(err) {
		return nil, fmt.Errorf("%w (%w)", err, ErrAway)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// namesFile refuses what is meant as something else than a path: the host of a
// URL, or a URI of SQLite's own.
func namesFile(path string) bool {
	host := strings.HasPrefix(path, "//") && !strings.HasPrefix(path, "///")
	return path != "" && !host && !strings.HasPrefix(path, "file:")
}
