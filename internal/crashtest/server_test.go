package crashtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is one cambio serve.
type server struct {
	t           *testing.T
	cmd         *exec.Cmd
	log         string // path
	public, ops string
	ended       chan struct{}
	err         error // how it ended
}

// serve starts a server and returns when it is ready. It ends with the test.
func (in *installation) serve() *server {
	in.t.Helper()
	s := in.launch()
	s.await()
	return s
}

// await returns when s is ready.
func (s *server) await() {
	s.t.Helper()
	until(s.t, "a server says where it listens", s.serving)
	until(s.t, "a server is ready", func() bool { return s.ready() == http.StatusOK })
}

// launch starts a server.
func (in *installation) launch() *server {
	in.t.Helper()
	log, err := os.Create(filepath.Join(in.t.TempDir(), "stderr"))
	if err != nil {
		in.t.Fatal(err)
	}
	defer log.Close()
	in.logs = append(in.logs, log.Name())
	s := &server{t: in.t, log: log.Name(), ended: make(chan struct{})}
	s.cmd = in.command(in.t.Context(), "serve")
	s.cmd.Stderr = log
	endWithParent(s.cmd)
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // whose end is the end of the server: never unlocked
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.err = s.cmd.Wait()
		}
		close(s.ended)
	}()
	if err := <-started; err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() { s.signal(syscall.SIGKILL); <-s.ended })
	return s
}

// serving reads the addresses from the log.
func (s *server) serving() bool {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		var said struct{ Msg, Listen, Ops string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "serving" {
			s.public, s.ops = "http://"+said.Listen, "http://"+said.Ops
			return true
		}
	}
	select {
	case <-s.ended:
		s.t.Fatalf("the server ended at once: %v: %s", s.err, text)
	default:
	}
	return false
}

// ready is the status of /readyz; zero: no answer.
func (s *server) ready() int {
	c := http.Client{Timeout: patience}
	resp, err := c.Get(s.ops + "/readyz")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func (s *server) signal(sig syscall.Signal) { _ = s.cmd.Process.Signal(sig) } // it may have ended

// kill ends the server at once.
func (s *server) kill() {
	s.signal(syscall.SIGKILL)
	<-s.ended
}

// stop asks the server to end, and returns how it did.
func (s *server) stop() error {
	s.signal(syscall.SIGTERM)
	select {
	case <-s.ended:
		return s.err
	case <-time.After(patience):
		return fmt.Errorf("still running after %s", patience)
	}
}
