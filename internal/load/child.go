package load

import (
	"encoding/json"
	"fmt"
	"io"
)

// Process is a command that is not started yet and will call Serve. *exec.Cmd is
// one.
type Process interface {
	StdinPipe() (io.WriteCloser, error)
	StdoutPipe() (io.ReadCloser, error)
	Start() error
	Wait() error
}

// Server is a server in a process of its own.
type Server struct {
	serving
	process Process
	in      io.WriteCloser
	out     *json.Decoder
	ended   bool
}

// Start starts p, and returns when it listens. Whoever starts a server must stop
// it.
func Start(p Process, cfg ServerConfig) (*Server, error) {
	in, err := p.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	s := &Server{process: p, in: in, out: json.NewDecoder(out)}
	err = json.NewEncoder(in).Encode(cfg)
	if err == nil {
		err = s.out.Decode(&s.serving)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; %w", err, s.Stop())
	}
	return s, nil
}

// Spending returns what the server has used so far.
func (s *Server) Spending() (used Spending, err error) {
	if _, err := io.WriteString(s.in, "{}\n"); err != nil {
		return used, err
	}
	return used, s.out.Decode(&used)
}

// Stop lets the server finish. It may be called again.
func (s *Server) Stop() error {
	if s.ended {
		return nil
	}
	s.ended = true
	_ = s.in.Close()
	return s.process.Wait()
}
