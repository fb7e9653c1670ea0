package httpapi_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/httpapi"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// gate is a store that lets an Update in only when it is told to.
type gate struct{ entered, open chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}, 100), make(chan struct{})} }

func (g *gate) before(next verifier.Store) verifier.Store {
	return storeFunc(func(ctx context.Context, lookup verifier.Lookup, decide func(time.Time, verifier.Found)) error {
		g.entered <- struct{}{}
		<-g.open
		return next.Update(ctx, lookup, decide)
	})
}

// running is a server that serves on loopback.
type running struct {
	public, ops string
	client      *http.Client
	stop        context.CancelFunc
	ended       chan error
}

func (w *world) run() *running {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	public, ops := listen(w.t), listen(w.t)
	r := &running{
		public: "http://" + public.Addr().String(),
		ops:    "http://" + ops.Addr().String(),
		client: &http.Client{Transport: &http.Transport{}},
		stop:   stop,
		ended:  make(chan error, 1),
	}
	go func() { r.ended <- w.server.Run(ctx, public, ops) }()
	w.t.Cleanup(stop)
	w.t.Cleanup(r.client.CloseIdleConnections)
	return r
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// send sends r to the public listener and returns the status, or zero.
func (r *running) send(req *http.Request) int {
	req.RequestURI = ""
	req.URL.Scheme, req.URL.Host = "http", strings.TrimPrefix(r.public, "http://")
	resp, err := r.client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func (r *running) get(url string) int {
	resp, err := r.client.Get(url)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func TestUntilItIsOpenAServerAsksToComeBack(t *testing.T) {
	var parts httpapi.Parts
	w := newWorld(t, options{config: func(cfg *setup) {
		parts = httpapi.Parts{Exchange: cfg.Exchange, JWKS: cfg.JWKS, Statuses: cfg.Statuses, Ready: cfg.Ready}
		cfg.Exchange, cfg.JWKS, cfg.Ready = nil, nil, nil
	}})
	_, key := w.newKey(manage.NewKey{})
	r := w.run()
	got := w.exchange(form(key))
	w.want(got, http.StatusServiceUnavailable, "temporarily_unavailable")
	if got.err.Reason != "unavailable" || got.header.Get("Retry-After") != "1" {
		t.Errorf("%v", got)
	}
	if code := r.get(r.ops + "/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("ready: %d", code)
	}
	if code := r.get(r.ops + "/livez"); code != http.StatusOK {
		t.Errorf("live: %d", code)
	}
	if code := r.get(r.public + wire.PathJWKS); code != http.StatusServiceUnavailable {
		t.Errorf("key set: %d", code)
	}
	if err := w.server.Open(httpapi.Parts{}); err == nil {
		t.Error("opened without parts")
	}
	if err := w.server.Open(parts); err != nil {
		t.Fatal(err)
	}
	w.want(w.exchange(form(key)), http.StatusOK, "")
	if code := r.get(r.ops + "/readyz"); code != http.StatusOK {
		t.Errorf("ready after opening: %d", code)
	}
}

func TestAnExchangeInFlightFinishesWhenTheServerStops(t *testing.T) {
	g := newGate()
	w := newWorld(t, options{store: g.before})
	id, key := w.newKey(manage.NewKey{Remaining: uses(5)})
	r := w.run()
	if code := r.get(r.ops + "/readyz"); code != http.StatusOK {
		t.Fatalf("ready: %d", code)
	}
	answered := make(chan int, 1)
	req := w.post(form(key).Encode())
	go func() { answered <- r.send(req) }()
	<-g.entered

	r.stop()
	for r.get(r.ops+"/readyz") != http.StatusServiceUnavailable { // nobody is sent to us any more
		runtime.Gosched()
	}
	if code := r.get(r.ops + "/livez"); code != http.StatusOK {
		t.Errorf("live while stopping: %d", code)
	}
	for { // the public listener closes
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.public, "http://"))
		if err != nil {
			break
		}
		conn.Close()
	}
	select {
	case err := <-r.ended:
		t.Fatalf("Run returned before the exchange did: %v", err)
	case code := <-answered:
		t.Fatalf("answered too early: %d", code)
	default:
	}
	close(g.open)
	if code := <-answered; code != http.StatusOK {
		t.Errorf("the exchange in flight: %d", code)
	}
	if err := <-r.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if left := w.remaining(id); left != 4 {
		t.Errorf("remaining %d", left)
	}
}

func TestAnExchangeThatOutlivesTheGraceIsCutOff(t *testing.T) {
	g := newGate()
	w := newWorld(t, options{store: g.before, config: func(cfg *setup) { cfg.Grace = time.Millisecond }})
	_, key := w.newKey(manage.NewKey{})
	r := w.run()
	answered := make(chan int, 1)
	req := w.post(form(key).Encode())
	go func() { answered <- r.send(req) }()
	<-g.entered
	r.stop()
	if err := <-r.ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v", err)
	}
	if code := <-answered; code != 0 {
		t.Errorf("answered %d", code)
	}
	close(g.open)
}

func TestRunEndsWhenAListenerFails(t *testing.T) {
	w := newWorld(t)
	public, ops := listen(t), listen(t)
	_ = public.Close()
	if err := w.server.Run(t.Context(), public, ops); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	if _, err := net.Dial("tcp", ops.Addr().String()); err == nil {
		t.Error("the other listener is still open")
	}
}

func TestTLS(t *testing.T) {
	borrowed := httptest.NewTLSServer(nil)
	borrowed.Close()
	w := newWorld(t, options{config: func(cfg *setup) {
		cfg.TLS = &tls.Config{Certificates: borrowed.TLS.Certificates}
	}})
	r := w.run()
	transport := borrowed.Client().Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2 = true
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https" + strings.TrimPrefix(r.public, "http") + wire.PathJWKS)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		t.Errorf("%s %d", resp.Proto, resp.StatusCode)
	}
	if code := r.get(r.public + wire.PathJWKS); code != http.StatusBadRequest { // refused, never redirected (ASVS 4.1.2)
		t.Errorf("plain HTTP: %d", code)
	}
	transport.CloseIdleConnections()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	w := newWorld(t)
	r := w.run()
	req := w.post("")
	req.Header.Set("X-Filler", strings.Repeat("x", 16<<10))
	if code := r.send(req); code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d", code)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestMoreExchangesThanSlotsAreToldToComeBack(t *testing.T) {
	g := newGate()
	w := newWorld(t, options{store: g.before, config: func(cfg *setup) { cfg.MaxConcurrent = 1 }})
	_, key := w.newKey(manage.NewKey{})
	first := make(chan reply, 1)
	go func() { first <- w.exchange(form(key)) }()
	<-g.entered

	got := w.exchange(form(key))
	w.want(got, http.StatusServiceUnavailable, "temporarily_unavailable")
	if got.header.Get("Retry-After") != "1" || got.err.Reason != "unavailable" {
		t.Errorf("%v", got)
	}
	if got := w.get(wire.PathJWKS); got.code != http.StatusOK {
		t.Errorf("the key set needs no slot: %v", got)
	}
	close(g.open)
	w.want(<-first, http.StatusOK, "")
	w.want(w.exchange(form(key)), http.StatusOK, "")
}

func TestASlowBodyKeepsNobodyOut(t *testing.T) {
	w := newWorld(t, options{config: func(cfg *setup) { cfg.MaxConcurrent = 1 }})
	_, key := w.newKey(manage.NewKey{})
	body, feed := io.Pipe()
	r := w.post("")
	r.Body, r.ContentLength = body, -1
	slow := make(chan reply, 1)
	go func() { slow <- w.do(r) }()
	_, _ = io.WriteString(feed, "x=1&") // returns once it is being read

	w.want(w.exchange(form(key)), http.StatusOK, "")
	_, _ = io.WriteString(feed, form(key).Encode())
	feed.Close()
	w.want(<-slow, http.StatusOK, "")
}

func TestHealth(t *testing.T) {
	away := errors.New("the database is away")
	var ready error
	w := newWorld(t, options{config: func(cfg *setup) {
		cfg.Ready = func(ctx context.Context) error {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("readiness is asked without a deadline")
			}
			return ready
		}
	}})
	ask := func(path string) (int, string) {
		rec := httptest.NewRecorder()
		w.server.Operations().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		return rec.Code, rec.Body.String()
	}
	if code, body := ask("/livez"); code != 200 || body != "ok\n" {
		t.Errorf("livez: %d %q", code, body)
	}
	if code, body := ask("/readyz"); code != 200 || body != "ready\n" {
		t.Errorf("readyz: %d %q", code, body)
	}
	ready = away
	if code, body := ask("/readyz"); code != 503 || body != "not ready\nstore: "+away.Error()+"\n" {
		t.Errorf("readyz: %d %q", code, body)
	}
	if line := w.lastLine(); line["err"] != away.Error() {
		t.Errorf("%v", line)
	}
	if code, _ := ask("/livez"); code != 200 {
		t.Errorf("a database that is away is no reason to start again: %d", code)
	}
	if code, _ := ask(wire.PathToken); code != 404 {
		t.Errorf("the token endpoint is no operation: %d", code)
	}
}
