package pgtest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain also is the test process that the tests below kill.
func TestMain(m *testing.M) {
	if os.Getenv("PGTEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	s, err := newServer(Options{})
	if err == nil {
		err = s.boot(s.initdb)
	}
	if err == nil && os.Getenv("PGTEST_CHILD") == "paused" {
		err = s.pause()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.dir.path, s.dir.reaper.Process.Pid)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until it is told to end, or killed
}

// child is a test process with a server.
type child struct {
	cmd    *exec.Cmd
	stdin  interface{ Close() error }
	dir    string
	reaper int
}

func startChild(t *testing.T, mode string) *child {
	t.Helper()
	c := &child{cmd: exec.CommandContext(context.Background(), os.Args[0])}
	c.cmd.Env = append(os.Environ(), "PGTEST_CHILD="+mode)
	var stderr bytes.Buffer
	c.cmd.Stderr = &stderr
	stdout, err := c.cmd.StdoutPipe()
	must(t, err)
	c.stdin, err = c.cmd.StdinPipe()
	must(t, err)
	must(t, c.cmd.Start())
	t.Cleanup(func() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
	if _, err := fmt.Fscan(stdout, &c.dir, &c.reaper); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if len(processes(c.dir)) == 0 {
		t.Fatal("its server is not seen")
	}
	return c
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	must(t, c.cmd.Process.Kill())
	_ = c.cmd.Wait() // killed
}

// segments counts those that a process has made.
func segments(t *testing.T, pid string) (n int) {
	t.Helper()
	table, err := os.ReadFile("/proc/sysvipc/shm")
	must(t, err)
	for line := range strings.Lines(string(table)) {
		if strings.Fields(line)[4] == pid {
			n++
		}
	}
	return n
}

func gone(dir string) bool {
	_, err := os.Stat(dir)
	return os.IsNotExist(err) && len(processes(dir)) == 0
}

func TestProcessThatIsKilledLeavesNothing(t *testing.T) {
	for _, mode := range []string{"running", "paused"} {
		t.Run(mode, func(t *testing.T) {
			c := startChild(t, mode)
			c.kill(t)
			until(t, "server and directory to go", func() bool { return gone(c.dir) })
		})
	}
}

func TestProcessThatEndsWithoutCleanupLeavesNothing(t *testing.T) {
	c := startChild(t, "running")
	must(t, c.stdin.Close())
	must(t, c.cmd.Wait())
	until(t, "server and directory to go", func() bool { return gone(c.dir) })
}

func TestStartSweepsWhatKilledProcessesLeft(t *testing.T) {
	for _, mode := range []string{"running", "paused"} {
		t.Run(mode, func(t *testing.T) {
			c, alive := startChild(t, mode), startChild(t, "running")
			postmaster := pidFile(c.dir)[0]
			reaper, err := os.FindProcess(c.reaper)
			must(t, err)
			must(t, reaper.Kill())
			c.kill(t)
			if gone(c.dir) {
				t.Error("nobody was there to remove it")
			}
			Start(t, Options{})
			if !gone(c.dir) {
				t.Errorf("%s is still there, with %v", c.dir, processes(c.dir))
			}
			if left := segments(t, postmaster); left > 0 {
				t.Errorf("%d segments of shared memory are still there", left)
			}
			if len(processes(alive.dir)) == 0 {
				t.Error("the server of a living process was swept")
			}
		})
	}
}

func TestSweepSparesWhatIsNotOurs(t *testing.T) {
	base := t.TempDir()
	stranger := strings.Replace(pattern, "*", "1", 1)
	must(t, os.WriteFile(base+"/"+stranger, nil, 0o600)) // no directory
	must(t, os.Mkdir(base+"/else", 0o700))
	abandoned, held, err := claim(base)
	must(t, err)
	must(t, held.Close())
	_, held, err = claim(base)
	must(t, err)
	defer held.Close()
	sweep(base)
	left, err := os.ReadDir(base)
	must(t, err)
	if len(left) != 3 || !gone(abandoned) {
		t.Errorf("left is %v", left)
	}
}

func TestBelongs(t *testing.T) {
	dir := "/dev/shm/cambio-pgtest-12.d"
	tests := map[string]struct {
		title string
		want  bool
	}{
		"a postmaster by its data directory":    {"/usr/lib/postgresql/15/bin/postgres\x00-D\x00" + dir + "/data\x00-k\x00x\x00", true},
		"its child by the name of the cluster":  {"postgres: cambio-pgtest-12.d: walsender postgres", true},
		"not the server of another directory":   {"postgres\x00-D\x00/dev/shm/cambio-pgtest-112.d/data\x00", false},
		"not a child of another cluster":        {"postgres: cambio-pgtest-1.d: checkpointer", false},
		"not an editor that has a file open":    {"vim\x00" + dir + "/data\x00", false},
		"not a server with the path in its log": {"postgres\x00-D\x00/data\x00-c\x00log_directory=" + dir + "/data\x00", false},
		"not a process that has ended":          {"", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := belongs(tt.title, dir); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
