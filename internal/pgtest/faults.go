package pgtest

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
)

// PID of the postmaster; zero while the server is down.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil || closed(s.ended) {
		return 0
	}
	return s.cmd.Process.Pid
}

// Kill ends the postmaster and all its children with SIGKILL, and returns when
// they are gone. What it had not written is lost.
func (s *Server) Kill() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(s.kill())
}

// kill has the same effect at whatever moment of the server's life: nothing is
// forked behind our back, since all is stopped first. s.mu is held.
func (s *Server) kill() error {
	if s.cmd == nil {
		return nil
	}
	err := s.pause()
	spent := s.cpu()
	err = errors.Join(err, killAll(s.dir.path))
	<-s.ended
	s.cmd, s.spent = nil, spent
	return errors.Join(err, removeSegment(s.dir))
}

// Pause stops the postmaster and all its children with SIGSTOP, and returns when
// they stand still: connections stay open, and nobody answers.
func (s *Server) Pause() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(s.pause())
}

// pause stops the postmaster first, so that the list of children is final.
func (s *Server) pause() error {
	if s.cmd == nil {
		return errors.New("the server is down")
	}
	for _, all := range []bool{false, true} {
		err := s.stop(func(p process) bool { return all || p.pid == s.cmd.Process.Pid })
		if err != nil {
			return err
		}
	}
	return nil
}

// stop sends SIGSTOP to the chosen ones and waits until it has worked.
func (s *Server) stop(chosen func(process) bool) error {
	return eventually("the server to stand still", func() bool {
		still := true
		for _, p := range processes(s.dir.path) {
			if !chosen(p) {
				continue
			}
			if state, _, _ := stat(p.pid); state != 'T' && state != 'Z' && state != 0 {
				p.signal(s.dir.path, sigPause)
				still = false
			}
		}
		return still
	})
}

// Resume undoes Pause and PauseSenders.
func (s *Server) Resume() {
	signalAll(s.dir.path, sigResume)
}

// PauseSenders stops the processes that send WAL to standbys, as a network that
// has gone silent would: Kill the server after that, and what its standbys had
// not received is lost. It fails the test if there are none.
func (s *Server) PauseSenders() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	err := s.stop(func(p process) bool {
		sender := strings.Contains(p.title, ": walsender ")
		found = found || sender
		return sender
	})
	if !found {
		err = errors.Join(err, errors.New("the server has no WAL senders"))
	}
	s.note(err)
}

// Stop shuts down in order: clients are disconnected, what they committed is
// written. Restart brings the server back.
func (s *Server) Stop() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(s.end(sigFast))
}

// end asks the postmaster to end, and kills it if that takes a minute.
func (s *Server) end(sig syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	s.Resume()
	spent := s.cpu()
	_ = s.cmd.Process.Signal(sig) // ended already: fine
	if err := eventually("the server to shut down", func() bool { return closed(s.ended) }); err != nil {
		return errors.Join(err, s.kill())
	}
	if state := s.cmd.ProcessState; state != nil { // nil after a failed start
		spent = max(spent, s.spent+state.UserTime()+state.SystemTime())
	}
	s.cmd, s.spent = nil, spent
	return killAll(s.dir.path) // a postmaster that had crashed has left its children
}

// Restart starts the server again on the same data and the same address, after
// Kill, Stop or a crash. It returns when clients are let in, after recovery.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.cmd != nil && closed(s.ended) { // it crashed by itself
		err = s.kill()
	}
	if err == nil && s.cmd != nil {
		err = errors.New("the server is running")
	}
	if err == nil {
		err = s.launch()
	}
	if err != nil {
		t.Fatalf("restarting PostgreSQL: %v", err)
	}
}

// CPU is the user and system time that the server and all its processes have
// used so far, in steps of 10 ms.
func (s *Server) CPU() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cpu()
}

// cpu counts children that have ended by what the postmaster knows of them, and
// counts again if one has ended meanwhile.
func (s *Server) cpu() time.Duration {
	if s.cmd == nil {
		return s.spent
	}
	postmaster := s.cmd.Process.Pid
	for {
		_, own, ended := stat(postmaster)
		var running time.Duration
		for _, child := range children(postmaster) { // ended ones too, which only it can forget
			_, used, waited := stat(child)
			running += used + waited
		}
		if _, _, again := stat(postmaster); again == ended {
			return s.spent + own + ended + running
		}
	}
}

// discard ends the server and removes all of it.
func (s *Server) discard() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := errors.Join(s.end(sigNow), killAll(s.dir.path), s.dir.remove())
	if s.reserved != nil {
		err = errors.Join(err, s.reserved.Close())
	}
	return err
}

// note fails the test, from whatever goroutine.
func (s *Server) note(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Errorf("PostgreSQL: %v", err)
	}
}
