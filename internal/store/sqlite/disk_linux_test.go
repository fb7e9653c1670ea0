package sqlite_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/verifier"
)

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
			defer os.Chmod(dir, 0o777)
			wantMessage(t, start(t, "open", path, asNobody).run(), path, "must be writable by this user")
		})
	}
}

func TestAFullDiskChargesNothingAndIsSurvived(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("mounting a small disk needs root: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	path, filler := filepath.Join(dir, "cambio.db"), filepath.Join(dir, "filler")
	s := open(t, path)
	digests := addKeys(t, s, 1, 1000)
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	charged := int64(0)
	var err error
	for err == nil && charged < 1000 {
		if err = update(t.Context(), s, digests, take(1)); err == nil {
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
	if err := update(t.Context(), s, digests, take(1)); err != nil {
		t.Errorf("after making room: %v", err)
	}
	if left := remaining(t, s, 0); left != 999-charged {
		t.Errorf("%d uses left after %d charges of 1000", left, charged+1)
	}
}
