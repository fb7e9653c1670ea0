package pgtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// initdb fills the data directory. Most of the time that a server takes to start
// would go into that, so what comes out is kept as a seed in the user's cache
// and copied from then on. Without a cache it works too.
func (s *Server) initdb(ctx context.Context) error {
	seed := s.bin.seed()
	fill := s.runInitdb
	if seed != "" {
		fill = func(ctx context.Context) error { return s.plant(ctx, seed) }
	}
	if err := fill(ctx); err != nil {
		return err
	}
	return s.configure(s.settings())
}

func (s *Server) runInitdb(ctx context.Context) error {
	return runBound(s.bin.command(ctx, s.dir.who, s.dir.data(), "initdb",
		"-D", s.dir.data(), "-U", "postgres", "-E", "UTF8", "--locale=C",
		"--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "--wal-segsize=4"))
}

// seed is where the seed of bin is, or will be; empty: it cannot be kept. Its
// name changes with the binary, and has to change with the arguments of initdb.
func (bin binaries) seed() string {
	const arguments = "1"
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	cache = filepath.Join(cache, "cambio-pgtest")
	info, err := os.Stat(filepath.Join(bin.dir, "postgres"))
	if err != nil || os.MkdirAll(cache, 0o700) != nil {
		return ""
	}
	id := sha256.Sum256(fmt.Appendln(nil, arguments, bin.dir, info.Size(), info.ModTime().UnixNano()))
	return filepath.Join(cache, fmt.Sprintf("data-%x", id[:8]))
}

// plant copies the seed into the data directory, or makes both. Test processes
// that start together wait for the first.
func (s *Server) plant(ctx context.Context, seed string) (err error) {
	if exists(seed) {
		return s.copySeed(seed)
	}
	held, err := lockedFile(seed + ".lock")
	if err != nil { // a cache that is read-only
		return s.runInitdb(ctx)
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	if exists(seed) {
		return s.copySeed(seed)
	}
	if err := s.runInitdb(ctx); err != nil {
		return err
	}
	_ = keep(s.dir.data(), seed) // a cache that is full is no reason to fail
	return nil
}

// keep copies a data directory to the seed, which appears complete or not at all.
func keep(data, seed string) error {
	unfinished := seed + ".new"
	if err := os.RemoveAll(unfinished); err != nil { // of a process that was killed
		return err
	}
	if err := os.CopyFS(unfinished, os.DirFS(data)); err != nil {
		return errors.Join(err, os.RemoveAll(unfinished))
	}
	flush()
	return os.Rename(unfinished, seed)
}

func (s *Server) copySeed(seed string) error {
	if err := os.CopyFS(s.dir.data(), os.DirFS(seed)); err != nil || s.dir.who == nil {
		return err
	}
	return filepath.WalkDir(s.dir.data(), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, s.dir.who.uid, s.dir.who.gid) //nolint:gosec // nobody else writes there yet
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
