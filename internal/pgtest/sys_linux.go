package pgtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

const (
	canStart = true

	sigPause  = syscall.SIGSTOP
	sigResume = syscall.SIGCONT
	sigFast   = syscall.SIGINT  // postmaster: disconnect everybody, checkpoint, end
	sigNow    = syscall.SIGQUIT // postmaster: end at once, without a checkpoint
)

// attributes makes a child run as who and die with the thread that starts it.
// A postmaster that gets SIGQUIT takes its own children along, which SIGKILL
// would leave behind.
func attributes(who *account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Pdeathsig: sigNow}
	if who != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(who.uid), Gid: uint32(who.gid)}
	}
	return attr
}

// detached makes a child that neither a dying thread nor Ctrl-C takes along.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// serverAccount is whom the server runs as: nil is ourselves. PostgreSQL refuses
// to run as root.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		return &account{uid, gid}, errors.Join(err1, err2)
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor a user nobody")
}

// lock takes the flock of f; without wait it reports whether it got it.
func lock(f *os.File, wait bool) (bool, error) {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err := syscall.Flock(int(f.Fd()), how)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		default:
			return false, fmt.Errorf("locking %s: %w", f.Name(), err)
		}
	}
}

// free is the number of bytes to be had in dir; zero when it cannot be told.
func free(dir string) uint64 {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return 0
	}
	return st.Bavail * uint64(st.Bsize)
}

// flush returns when all that was written is on its disk.
func flush() { syscall.Sync() }

func ownedByUs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// reservePort binds a port of 127.0.0.1 without listening on it: nobody else
// gets it while the file is open, but a server that sets SO_REUSEADDR, as
// PostgreSQL does, may listen there, and may come back after a crash.
func reservePort() (port int, held *os.File, err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("reserving a port: %w", err)
	}
	held = os.NewFile(uintptr(fd), "reserved port")
	err = errors.Join(
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
	)
	bound, nameErr := syscall.Getsockname(fd)
	if err = errors.Join(err, nameErr); err != nil {
		return 0, nil, errors.Join(fmt.Errorf("reserving a port: %w", err), held.Close())
	}
	return bound.(*syscall.SockaddrInet4).Port, held, nil
}
