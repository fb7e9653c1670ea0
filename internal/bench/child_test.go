package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// child is a server in a process of its own.
type child struct {
	serving
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// start starts a server that ends with tb at the latest.
func start(tb testing.TB, cfg serverConfig) *child {
	tb.Helper()
	c, err := newChild(cfg)
	if err != nil {
		tb.Fatalf("starting the server %s: %v", cfg.Name, err)
	}
	tb.Cleanup(func() {
		if err := c.stop(); err != nil {
			tb.Errorf("the server %s: %v", cfg.Name, err)
		}
	})
	return c
}

func newChild(cfg serverConfig) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self)}
	c.cmd.Env = append(os.Environ(), childEnv+"=1")
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = json.NewDecoder(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	err = json.NewEncoder(c.in).Encode(cfg)
	if err == nil {
		err = c.out.Decode(&c.serving)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; %w", err, c.stop())
	}
	return c, nil
}

// spending returns what the server has used so far.
func (c *child) spending() (s spending, err error) {
	if _, err := io.WriteString(c.in, "{}\n"); err != nil {
		return s, err
	}
	return s, c.out.Decode(&s)
}

// stop lets the server finish. It may be called again.
func (c *child) stop() error {
	if c.cmd.ProcessState != nil {
		return nil
	}
	_ = c.in.Close()
	return c.cmd.Wait()
}
