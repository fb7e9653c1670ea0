package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
)

// served is a server of this process, as cambio serve runs it, with a client and a key.
type served struct {
	t           *testing.T
	public, ops string
	client      http.Client
	secret, key string
	keyID       string
	logs        *logBuffer
	stop        func() // waits for its end; may be called twice
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// serveHere starts a server on a store, with what change says of its settings.
func serveHere(t *testing.T, store string, change func(*config.Config)) *served {
	t.Helper()
	master := issuer.NewMasterKey()
	cfg := config.Config{
		Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", Store: store, MasterKey: &master, Groups: 1,
		UsageRetention: 24 * time.Hour, TokenLifetime: time.Minute, SigningAlgs: []string{"EdDSA"}, SigningPeriod: 24 * time.Hour,
	}
	if change != nil {
		change(&cfg)
	}
	public, ops, err := listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, public: "http://" + public.Addr().String(), ops: "http://" + ops.Addr().String(), logs: &logBuffer{}}
	s.client.Transport = &http.Transport{MaxIdleConnsPerHost: 50}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	opened := make(chan struct{})
	running.Go(func() {
		log := slog.New(slog.NewTextHandler(s.logs, nil))
		if err := serve(ctx, cfg, public, ops, log, s.fill(opened)); err != nil {
			t.Errorf("serving: %v", err)
			cancel()
		}
	})
	s.stop = func() { s.client.CloseIdleConnections(); cancel(); running.Wait() }
	t.Cleanup(s.stop)
	select {
	case <-opened:
	case <-ctx.Done():
		t.FailNow()
	}
	s.until("ready", func() bool { code, _ := s.get(s.ops+"/readyz", ""); return code == http.StatusOK })
	return s
}

// fill makes a client and a key before the server is ready.
func (s *served) fill(opened chan<- struct{}) func(store.Store, string) error {
	return func(db store.Store, _ string) error {
		defer close(opened)
		managing := manage.New(db)
		c, err := managing.CreateClient(s.t.Context(), manage.NewClient{ID: "orders-backend", Audiences: []string{"https://orders.example.com"}})
		if err != nil {
			return err
		}
		k, err := managing.CreateKey(s.t.Context(), manage.NewKey{Owner: "user_42"})
		if err != nil {
			return err
		}
		s.secret, s.key, s.keyID = c.Secret.Reveal(), k.Secret.Reveal(), string(k.Key.ID)
		return nil
	}
}

// until waits for what happens by itself, for as long as the test may take.
func (s *served) until(what string, so func() bool) {
	s.t.Helper()
	for !so() {
		select {
		case <-s.t.Context().Done():
			s.t.Fatalf("never %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// exchange returns the answer, and its status.
func (s *served) exchange(key string, headers ...string) (int, string) {
	s.t.Helper()
	form := url.Values{
		wire.FieldGrantType: {wire.GrantTokenExchange}, wire.FieldSubjectTokenType: {wire.TypeAPIKey}, wire.FieldSubjectToken: {key},
	}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.public+wire.PathToken, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", wire.MediaForm)
	r.SetBasicAuth("orders-backend", s.secret)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return s.do(r)
}

func (s *served) get(url, accept string) (int, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	return s.do(r)
}

func (s *served) do(r *http.Request) (int, string) {
	s.t.Helper()
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Error(err)
	}
	return resp.StatusCode, string(body)
}
