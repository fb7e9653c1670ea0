package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	sqlite3 "modernc.org/sqlite/lib"
)

// explain says what is wrong with path and what to do, for an error of opening
// it. It wraps err, unless there is a plainer reason.
func explain(path string, err error) error {
	dir := filepath.Dir(path)
	if info, statErr := os.Stat(dir); errors.Is(statErr, fs.ErrNotExist) {
		return fmt.Errorf("directory %s does not exist; create it or choose another path", dir)
	} else if statErr == nil && !info.IsDir() {
		return fmt.Errorf("%s is not a directory; choose another path", dir)
	}
	if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
		return errors.New("it is a directory; name a file in it")
	}
	if hint := hintFor(path, err); hint != "" {
		return fmt.Errorf("%s (%w)", hint, err)
	}
	return err
}

// hintFor says in words what err means for path; nothing if err says it itself.
func hintFor(path string, err error) string {
	writable := fmt.Sprintf("the file and its directory must be writable by this user (uid %d)", os.Getuid())
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "another process kept it locked for too long"
	case errors.Is(err, syscall.ENOSPC):
		return "the disk is full; make room and try again"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return writable
	}
	code := codeOf(err)
	switch code {
	case sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_WRITE:
		return "the disk is full or failing; make room and try again"
	}
	switch code & 0xff {
	case sqlite3.SQLITE_NOTADB:
		return "the file is not a SQLite database; choose another path"
	case sqlite3.SQLITE_CORRUPT:
		return "the database is damaged; restore a backup of " + path
	case sqlite3.SQLITE_FULL:
		return "the disk is full; make room and try again"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return writable
	case sqlite3.SQLITE_BUSY:
		return "another process keeps it locked"
	}
	return ""
}
