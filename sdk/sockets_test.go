package sdk_test

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// resets sends half of what it promised, and cuts the connection without a FIN.
func resets(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"keys\":["))
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

func fiftyMegabytes(w http.ResponseWriter, _ *http.Request) {
	spaces := []byte(strings.Repeat(" ", 1<<20))
	for range 50 {
		if _, err := w.Write(spaces); err != nil {
			return
		}
	}
}

func toItself(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, r.URL.Path, http.StatusFound)
}

// fickle serves the issuer until it is told otherwise.
type fickle struct {
	mu   sync.Mutex
	next http.Handler
}

func (f *fickle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	next := f.next
	f.mu.Unlock()
	next.ServeHTTP(w, r)
}

func (f *fickle) set(next http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = next
}

func TestOnRealSocketsNoAnswerTakesAGoodKeyAwayOrLeavesAGoroutine(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var all sync.WaitGroup
	for _, answer := range []http.HandlerFunc{resets, fiftyMegabytes, toItself} {
		all.Go(func() {
			iss := sdktest.Start()
			defer iss.Close()
			f := &fickle{next: iss}
			server := httptest.NewServer(f)
			defer server.Close()
			config, transport := iss.CheckerConfig(billing), &http.Transport{}
			defer transport.CloseIdleConnections()
			config.JWKSURL, config.HTTPClient = server.URL+"/.well-known/jwks.json", &http.Client{Transport: transport}
			checker, err := sdk.NewChecker(config)
			if err != nil {
				t.Error(err)
				return
			}
			want(t, "accepted", check(t, checker, iss.Token(billing)))
			f.set(answer)
			iss.Advance(5 * time.Minute)
			want(t, "accepted", check(t, checker, iss.Token(billing)))
			want(t, "unavailable", check(t, checker, forgedKid(iss, 1)))
			want(t, "accepted", check(t, checker, iss.Token(billing)))
		})
	}
	all.Wait()
}

func TestAServerWithTheWrongCertificateIsNotTheIssuer(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	iss := sdktest.Start()
	defer iss.Close()
	server := httptest.NewUnstartedServer(iss)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	wrongName := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	for name, c := range map[string]struct {
		url    string
		client *http.Client
		want   string
	}{
		"signed by whom we trust":  {server.URL, server.Client(), "accepted"},
		"signed by nobody we know": {server.URL, &http.Client{Transport: &http.Transport{}}, "unavailable"},
		"for another name":         {wrongName, server.Client(), "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			config := iss.CheckerConfig(billing)
			config.JWKSURL, config.HTTPClient = c.url+"/.well-known/jwks.json", c.client
			want(t, c.want, check(t, newChecker(t, config), iss.Token(billing)))
			c.client.CloseIdleConnections()
		})
	}
}

// want is wantAccepted or wantUnavailable, for any goroutine.
func want(t *testing.T, outcome string, err error) {
	t.Helper()
	got := "accepted"
	switch {
	case errors.Is(err, sdk.ErrUnavailable):
		got = "unavailable"
	case err != nil:
		got = "refused"
	}
	if got != outcome {
		t.Errorf("%s: %v, want %s", got, err, outcome)
	}
}
