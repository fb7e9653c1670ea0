package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// account is a user that a server runs as.
type account struct{ uid, gid int }

// command is a program of bin, run as who, with an environment of its own, so
// that no PGHOST or PGDATA of the caller reaches it.
func (bin binaries) command(ctx context.Context, who *account, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(bin.dir, name), args...) //nolint:gosec // a program of PostgreSQL
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=GMT"}
	if bin.lib != "" {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+bin.lib)
	}
	cmd.SysProcAttr = attributes(who)
	return cmd
}

// runBound is run for a command that must not outlive us: Pdeathsig counts from
// the thread, so the thread has to stay until the command has ended.
func runBound(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, err := run(cmd)
	return err
}

// spawn starts cmd and closes ended once it has ended.
func spawn(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	started, done := make(chan error, 1), make(chan struct{})
	go hold(cmd, started, done)
	return done, <-started
}

// hold lives as long as the child does, and its thread with it: see runBound.
func hold(cmd *exec.Cmd, started chan<- error, ended chan<- struct{}) {
	runtime.LockOSThread() // and never unlocked, so the thread ends here
	err := cmd.Start()
	started <- err
	if err == nil {
		_ = cmd.Wait() // how a server ends is read from its log
	}
	close(ended)
}

// process is one that belongs to a server, seen in /proc.
type process struct {
	pid   int
	title string // its arguments, each ended by a NUL
}

// processes lists those of the server in dir: the postmaster by its -D, the
// others by the cluster name in their title. What has ended has no title.
// cmdline is readable for everybody, which cwd and exe are not in a container.
func processes(dir string) []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if title := titleOf(pid); belongs(title, dir) {
			found = append(found, process{pid, title})
		}
	}
	return found
}

func titleOf(pid int) string {
	title, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // gone: no title
	return string(title)
}

func belongs(title, dir string) bool {
	if strings.HasPrefix(title, "postgres: "+filepath.Base(dir)+": ") {
		return true
	}
	program, args, _ := strings.Cut(title, "\x00")
	return filepath.Base(program) == "postgres" && strings.Contains(args, "-D\x00"+dataOf(dir)+"\x00")
}

// signal sends sig to p, unless its number has gone to another process since:
// the handle is taken first, and the title looked at again.
func (p process) signal(dir string, sig os.Signal) {
	handle, err := os.FindProcess(p.pid)
	if err != nil {
		return
	}
	defer handle.Release() //nolint:errcheck // only frees a descriptor
	if belongs(titleOf(p.pid), dir) {
		_ = handle.Signal(sig) // ended meanwhile: fine
	}
}

func signalAll(dir string, sig os.Signal) {
	for _, p := range processes(dir) {
		p.signal(dir, sig)
	}
}

// quitAll gives the server in dir time to end by itself, as the postmaster then
// frees its shared memory, even if its directory is being removed under it.
func quitAll(dir string) {
	within(10*time.Second, func() bool {
		signalAll(dir, sigNow)
		signalAll(dir, sigResume)
		return len(processes(dir)) == 0
	})
}

// killAll leaves no process of the server in dir.
func killAll(dir string) error {
	return eventually("the processes of "+dir+" to end", func() bool {
		signalAll(dir, syscall.SIGKILL)
		return len(processes(dir)) == 0
	})
}

// statFields are those of proc(5) from the third on; nil: gone.
func statFields(pid int) [][]byte {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
}

// stat returns the state of a process and the time it has computed, without and
// with the children that it has waited for. Gone: state 0.
func stat(pid int) (state byte, own, waited time.Duration) {
	f := statFields(pid)
	if f == nil {
		return 0, 0, 0
	}
	ticks := func(i int) time.Duration {
		n, _ := strconv.ParseInt(string(f[i]), 10, 64) // the kernel writes numbers
		return time.Duration(n) * (time.Second / 100)  // USER_HZ is 100 on all that Go runs on
	}
	return f[0][0], ticks(11) + ticks(12), ticks(13) + ticks(14)
}

// children lists those that a process has started and not yet waited for, whether
// they run or have ended.
func children(parent int) (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && parentOf(pid) == parent {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parentOf is 0 for what is gone.
func parentOf(pid int) int {
	f := statFields(pid)
	if f == nil {
		return 0
	}
	parent, _ := strconv.Atoi(string(f[1])) // the kernel writes numbers
	return parent
}

// eventually polls until ok; its bound is for a machine that hangs.
func eventually(what string, ok func() bool) error {
	if !within(time.Minute, ok) {
		return fmt.Errorf("waited a minute for %s", what)
	}
	return nil
}

func within(bound time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(bound); !ok(); time.Sleep(3 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
