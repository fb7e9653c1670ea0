package pgtest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// pattern names the directories of servers. The suffix keeps one name from
// being the beginning of another.
const pattern = "cambio-pgtest-*.d"

// reaper waits for our end, wakes a server that is paused (the kernel has sent
// its postmaster SIGQUIT), and removes the directory.
const reaper = `read -r _
pid=$(head -n 1 "$1/data/postmaster.pid") && kill -CONT "$pid" $(cat "/proc/$pid/task/$pid/children")
for i in 1 2 3 4 5 6 7 8 9; do rm -rf "$1" && exit; sleep 0.1; done`

// directory is where one server lives. Its lock is ours for as long as we run.
type directory struct {
	path   string
	who    *account // owns what is inside; nil: ourselves
	locked *os.File
	reaper *exec.Cmd
	alive  io.Closer // the reaper acts when it is closed
}

func dataOf(dir string) string { return filepath.Join(dir, "data") }

func (d *directory) data() string   { return dataOf(d.path) }
func (d *directory) socket() string { return filepath.Join(d.path, "socket") }
func (d *directory) log() string    { return filepath.Join(d.path, "log") }

// bases are where directories are made: in memory if there is room for large
// tests, and never deep, as the path of a socket holds 107 bytes.
func bases() []string { return []string{"/dev/shm", "/tmp"} }

func newDirectory() (*directory, error) {
	who, err := serverAccount()
	if err != nil {
		return nil, err
	}
	for _, base := range bases() {
		sweep(base)
	}
	base := bases()[1]
	if free(bases()[0]) >= 2<<30 {
		base = bases()[0]
	}
	d := &directory{who: who}
	for d.locked == nil { // a sweep of another process may be faster than our lock
		if d.path, d.locked, err = claim(base); err != nil {
			return nil, err
		}
	}
	if err := d.furnish(); err != nil {
		return nil, errors.Join(err, d.remove())
	}
	return d, nil
}

// claim makes a directory and locks it; a nil file means that it was swept first.
func claim(base string) (path string, locked *os.File, err error) {
	path, err = os.MkdirTemp(base, pattern)
	if err != nil {
		return "", nil, err
	}
	locked, err = os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil, nil
	} else if err != nil {
		return path, nil, err
	}
	if _, err := lock(locked, true); err != nil {
		return path, nil, errors.Join(err, locked.Close())
	}
	ours, err1 := locked.Stat()
	there, err2 := os.Stat(path)
	if err1 != nil || err2 != nil || !os.SameFile(ours, there) {
		return path, nil, locked.Close()
	}
	return path, locked, nil
}

// furnish lets the server's account in, and nobody else: who reaches its socket
// is its superuser.
func (d *directory) furnish() error {
	if err := d.startReaper(); err != nil {
		return err
	}
	if err := os.Chmod(d.path, 0o711); err != nil { //nolint:gosec // only to pass through
		return err
	}
	for _, dir := range []string{d.data(), d.socket()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if d.who == nil {
			continue
		}
		if err := os.Chown(dir, d.who.uid, d.who.gid); err != nil {
			return err
		}
	}
	return nil
}

func (d *directory) startReaper() (err error) {
	d.reaper = exec.CommandContext(context.Background(), "sh", "-c", reaper, "sh", d.path) //nolint:gosec // our own script
	d.reaper.SysProcAttr = detached()
	d.reaper.Dir = "/"
	if d.alive, err = d.reaper.StdinPipe(); err != nil {
		return err
	}
	return d.reaper.Start()
}

// remove is for a directory whose server has ended.
func (d *directory) remove() error {
	err := errors.Join(removeSegment(d), os.RemoveAll(d.path))
	if d.reaper != nil && d.reaper.Process != nil {
		_ = d.alive.Close()
		_ = d.reaper.Wait() // it finds nothing left to do
	}
	return errors.Join(err, d.locked.Close())
}

// sweep removes what test processes of ours have left in base: the directories
// that nobody holds locked, with what still runs in them. What cannot be
// removed waits for the next sweep.
func sweep(base string) {
	paths, _ := filepath.Glob(filepath.Join(base, pattern)) // the pattern is well formed
	for _, path := range paths {
		if info, err := os.Lstat(path); err != nil || !info.IsDir() || !ownedByUs(info) {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if got, err := lock(f, false); err == nil && got {
			discard(path)
		}
		_ = f.Close()
	}
}

func discard(path string) {
	quitAll(path)
	if killAll(path) != nil {
		return
	}
	who, err := serverAccount()
	if err == nil {
		_ = removeSegment(&directory{path: path, who: who})
	}
	_ = os.RemoveAll(path)
}

// removeSegment removes the few bytes of System V shared memory that mark a data
// directory as in use, and which a server that was killed leaves behind. It
// waits for the last process to let go of them: they would bar a new server.
func removeSegment(d *directory) error {
	lines := pidFile(d.path)
	if len(lines) < 7 {
		return nil
	}
	mark := strings.Fields(lines[6]) // key and id
	var found bool
	err := eventually("the processes of "+d.path+" to let go of it", func() bool {
		var attached string
		attached, found = segment(mark, lines[0])
		return !found || attached == "0"
	})
	if err != nil || !found {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ipcrm", "-m", mark[1]) //nolint:gosec // a number
	cmd.SysProcAttr = attributes(d.who)
	return runBound(cmd)
}

// segment finds the segment with this key and id that the process pid has made.
func segment(mark []string, pid string) (attached string, found bool) {
	table, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil || len(mark) != 2 {
		return "", false // a kernel without them has none
	}
	for line := range strings.Lines(string(table)) {
		// key shmid perms size cpid lpid nattch …
		if f := strings.Fields(line); len(f) > 6 && f[0] == mark[0] && f[1] == mark[1] && f[4] == pid {
			return f[6], true
		}
	}
	return "", false
}

// pidFile is the server's own note: its process in line 1, its segment in line
// 7, its state in line 8.
func pidFile(dir string) []string {
	text, err := os.ReadFile(filepath.Join(dataOf(dir), "postmaster.pid"))
	if err != nil {
		return nil
	}
	return strings.Split(string(text), "\n")
}

// ready says whether the server with this process number lets anybody in.
func ready(dir string, pid int) bool {
	lines := pidFile(dir)
	return len(lines) > 7 && lines[0] == strconv.Itoa(pid) && strings.TrimSpace(lines[7]) == "ready"
}
