package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// errNoServer says what to do about it.
var errNoServer = errors.New("no PostgreSQL server found; run\n\n" +
	"\tsudo apt-get install -y --no-install-recommends postgresql\n\n" +
	"or set PGTEST_BIN to the directory of initdb and postgres, or PGTEST_DATABASE_URL to a server's URL")

// binaries are the programs of one PostgreSQL.
type binaries struct {
	dir string
	lib string // its LD_LIBRARY_PATH; empty: the system's libraries do
}

// places are where a server may be found, in this order.
type places struct {
	bin    string // PGTEST_BIN: if given, it must be there
	debian string // holds a directory for each version
	path   string // PATH, for pg_config, which knows its server, and for postgres itself
}

func systemPlaces() places {
	return places{bin: os.Getenv("PGTEST_BIN"), debian: "/usr/lib/postgresql", path: os.Getenv("PATH")}
}

// locate finds a server or installs one, once per process.
var locate = sync.OnceValues(func() (binaries, error) {
	if !canStart {
		return binaries{}, errors.New("servers are started on Linux only: set PGTEST_DATABASE_URL to a server's URL")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dir, err := systemPlaces().find(ctx)
	if dir != "" || err != nil {
		return binaries{dir: dir}, err
	}
	bin, err := install(ctx)
	if err != nil {
		return binaries{}, fmt.Errorf("%w\n\n(installing it failed: %w)", errNoServer, err)
	}
	return bin, nil
})

// find names the first directory with both initdb and postgres; empty: there is none.
func (p places) find(ctx context.Context) (string, error) {
	if p.bin != "" {
		if !complete(p.bin) {
			return "", fmt.Errorf("PGTEST_BIN: %s lacks initdb or postgres", p.bin)
		}
		return p.bin, nil
	}
	if dir := newest(p.debian); dir != "" {
		return dir, nil
	}
	path := filepath.SplitList(p.path)
	for _, dir := range path {
		out, err := exec.CommandContext(ctx, filepath.Join(dir, "pg_config"), "--bindir").Output() //nolint:gosec // PATH is trusted to run programs
		if bin := strings.TrimSpace(string(out)); err == nil && complete(bin) {
			return bin, nil
		}
	}
	for _, dir := range path {
		if complete(dir) {
			return dir, nil
		}
	}
	return "", nil
}

// newest is the bin directory of the newest version below dir that has one.
func newest(dir string) string {
	bins, _ := filepath.Glob(filepath.Join(dir, "*", "bin")) // the pattern is well formed
	slices.SortStableFunc(bins, func(a, b string) int { return version(b) - version(a) })
	for _, bin := range bins {
		if complete(bin) {
			return bin
		}
	}
	return ""
}

// version of .../16/bin is 16.
func version(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin))) // not a number: oldest
	return n
}

func complete(dir string) bool {
	return filepath.IsAbs(dir) && executable(dir, "initdb") && executable(dir, "postgres")
}

func executable(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, name))
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
