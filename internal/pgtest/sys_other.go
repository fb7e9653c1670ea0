//go:build !linux

package pgtest

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Elsewhere than on Linux the package compiles, so that the tests which import
// it do, but only a server that is given can be used.
const (
	canStart = false

	sigPause  = syscall.SIGKILL
	sigResume = syscall.SIGKILL
	sigFast   = syscall.SIGKILL
	sigNow    = syscall.SIGKILL
)

var errNotLinux = errors.New("pgtest starts servers on Linux only")

func attributes(*account) *syscall.SysProcAttr { return nil }
func detached() *syscall.SysProcAttr           { return nil }
func serverAccount() (*account, error)         { return nil, errNotLinux }
func lock(*os.File, bool) (bool, error)        { return false, errNotLinux }
func free(string) uint64                       { return 0 }
func flush()                                   {}
func ownedByUs(fs.FileInfo) bool               { return false }
func reservePort() (int, *os.File, error)      { return 0, nil, errNotLinux }
