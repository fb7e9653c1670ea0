package httpapi

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

func TestEveryConnectionIsBounded(t *testing.T) {
	s := &Server{log: slog.New(slog.DiscardHandler)}
	srv := s.newHTTP(t.Context(), nil, 1)
	if srv.ReadHeaderTimeout <= 0 || srv.ReadTimeout <= 0 || srv.WriteTimeout <= srv.ReadTimeout || srv.IdleTimeout <= 0 {
		t.Errorf("time-outs: %+v", srv)
	}
	if srv.MaxHeaderBytes < 8<<10 || srv.MaxHeaderBytes > 16<<10 {
		t.Errorf("headers: %d bytes", srv.MaxHeaderBytes)
	}
}

// pipes is a listener in memory, for virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// served runs do against a server without a store, in virtual time.
func served(t *testing.T, most int, do func(t *testing.T, s *Server, p *pipes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Issuer: "https://keys.example.com", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		p := newPipes()
		srv := s.newHTTP(t.Context(), s.public, most)
		var serving sync.WaitGroup
		serving.Go(func() { _ = srv.Serve(p) })
		do(t, s, p)
		_ = srv.Close()
		serving.Wait()
	})
}

func TestWhoSendsSlowlyIsCutOffInTime(t *testing.T) {
	const head = "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	for name, test := range map[string]struct {
		first, then string // then again and again, once a second
		after       time.Duration
		want        string // of the answer; empty: none
	}{
		"who says nothing":                   {"", "", readHeaderTimeout, ""},
		"a request line by drops":            {"P", "O", readHeaderTimeout, ""},
		"headers by drops":                   {head, "X: y\r\n", readHeaderTimeout, ""},
		"a body that never comes":            {head + "Content-Length: 10\r\n\r\n", "", readTimeout, "HTTP/1.1 408"},
		"a body by drops":                    {head + "Content-Length: 1000\r\n\r\n", "a", readTimeout, "HTTP/1.1 408"},
		"chunks without end":                 {head + "Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n", readTimeout, "HTTP/1.1 408"},
		"a chunk by drops":                   {head + "Transfer-Encoding: chunked\r\n\r\nff\r\n", "a", readTimeout, "HTTP/1.1 408"},
		"a body for a path that is not here": {strings.Replace(head, "token", "none", 1) + "Content-Length: 10\r\n\r\n", "", readTimeout, "HTTP/1.1 404"},
	} {
		t.Run(name, func(t *testing.T) {
			served(t, 10, func(t *testing.T, _ *Server, p *pipes) {
				conn := p.dial()
				began := time.Now()
				var sending sync.WaitGroup
				sending.Go(func() {
					_, err := io.WriteString(conn, test.first)
					for err == nil && test.then != "" {
						time.Sleep(time.Second)
						_, err = io.WriteString(conn, test.then)
					}
				})
				got, _ := io.ReadAll(conn)
				if took := time.Since(began); took > test.after+time.Second {
					t.Errorf("after %v", took)
				}
				if !strings.HasPrefix(string(got), test.want) || test.want == "" && len(got) > 0 && !strings.HasPrefix(string(got), "HTTP/1.1 4") {
					t.Errorf("answered %q", got)
				}
				conn.Close()
				sending.Wait()
			})
		})
	}
}

// asks sends a request that needs no store, and tells whether it was answered.
func asks(conn net.Conn) bool {
	if _, err := io.WriteString(conn, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return false
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusNotFound
}

func TestIdleConnectionsMakeRoomForTheNext(t *testing.T) {
	served(t, 4, func(t *testing.T, _ *Server, p *pipes) {
		var flood []net.Conn
		for range 20 { // that never ask, or have asked and are kept
			flood = append(flood, p.dial())
			synctest.Wait()
		}
		for _, conn := range flood[16:18] {
			if !asks(conn) {
				t.Error("one of the four newest is closed")
			}
		}
		synctest.Wait()
		conn := p.dial()
		if !asks(conn) {
			t.Error("a new one is not served")
		}
		for i, was := range flood {
			if answered := asks(was); answered != (i == 16 || i == 17 || i == 19) { // 18 had waited longest
				t.Errorf("connection %d: %t", i, answered)
			}
		}
		conn.Close()
		for _, was := range flood {
			was.Close()
		}
	})
}

func TestRequestsAreNotCutOffToMakeRoom(t *testing.T) {
	served(t, 2, func(t *testing.T, _ *Server, p *pipes) {
		const begun = "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\n"
		busy := []net.Conn{p.dial(), p.dial()}
		for _, conn := range busy {
			_, _ = io.WriteString(conn, begun)
		}
		synctest.Wait()
		late := p.dial()
		if asks(late) {
			t.Error("a third one is served")
		}
		for _, conn := range busy {
			_, _ = io.WriteString(conn, "a=b&a=c")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%v, %v", resp, err)
			}
		}
		synctest.Wait()
		later := p.dial()
		if !asks(later) {
			t.Error("who came when there was room again is not served")
		}
		for _, conn := range append(busy, late, later) {
			conn.Close()
		}
	})
}

func TestBodiesThatAreHeldAreBounded(t *testing.T) {
	s, err := New(Config{Issuer: "https://keys.example.com", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.bodies.most = 20 << 10
	form := func(body io.Reader) *http.Request {
		r := httptest.NewRequest(http.MethodPost, wire.PathToken, body)
		r.Header.Set("Content-Type", wire.MediaForm)
		return r
	}
	ask := func(r *http.Request) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		s.public.ServeHTTP(rec, r)
		return rec
	}
	repeated := "a=b&a=" + strings.Repeat("c", 12<<10)
	body, feed := io.Pipe()
	slow := make(chan *httptest.ResponseRecorder, 1)
	go func() { slow <- ask(form(body)) }()
	_, _ = io.WriteString(feed, repeated)
	_, _ = feed.Write(nil) // returns once all that was counted

	if got := ask(form(strings.NewReader(repeated))); got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %v", got.Code, got.Header())
	}
	leak := httptest.NewRequest(http.MethodPost, wire.PathLeaks, strings.NewReader(repeated))
	if got := ask(leak); got.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if got := ask(form(strings.NewReader("a=b&a=c"))); got.Code != http.StatusBadRequest {
		t.Errorf("a small one: %d", got.Code)
	}
	feed.Close()
	if got := <-slow; got.Code != http.StatusBadRequest {
		t.Errorf("the slow one: %d", got.Code)
	}
	if got := ask(form(strings.NewReader(repeated))); got.Code != http.StatusBadRequest || s.bodies.held.Load() != 0 {
		t.Errorf("when it has gone: %d, and %d bytes are held", got.Code, s.bodies.held.Load())
	}
}
