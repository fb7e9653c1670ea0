// Package sdktest is an issuer on loopback, for tests of programs that use the
// sdk. It signs whatever a test asks for, exchanges and verifies the keys it was
// given, and can be late, down or rotate its keys at will. It decides nothing about real
// keys: its budgets only count down.
//
// Every Issuer stands alone, so tests may run in parallel.
package sdktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/sdk"
)

// ClientID and ClientSecret are those of the one client there is.
const (
	ClientID     = "sdktest"
	ClientSecret = "cs_sdktest"
)

// Issuer is an authorization server for one test. It is safe for concurrent use.
type Issuer struct {
	server *httptest.Server

	mu        sync.Mutex
	signers   []*signer // published; the last one signs
	keys      map[string]*Key
	clock     func() time.Time
	down      bool
	fetches   int
	exchanges int
	minted    int
	status    statuses

	verifications int
	verified      map[string]verified // by idempotency key
}

// Start starts an Issuer with one EdDSA key and the real time. Close it when done.
func Start() *Issuer {
	i := &Issuer{keys: map[string]*Key{}, verified: map[string]verified{}, clock: time.Now}
	i.Rotate(sdk.EdDSA)
	i.server = httptest.NewServer(i)
	return i
}

// Close stops the server.
func (i *Issuer) Close() { i.server.Close() }

// URL is the issuer identifier, iss.
func (i *Issuer) URL() string { return i.server.URL }

// CheckerConfig is what a backend for audience needs to check our tokens, by our
// clock.
func (i *Issuer) CheckerConfig(audience string) sdk.CheckerConfig {
	return sdk.CheckerConfig{Issuer: i.URL(), Audience: audience, Now: i.Now}
}

// ClientConfig is what a backend for audience needs to verify our keys, by our
// clock.
func (i *Issuer) ClientConfig(audience string) sdk.ClientConfig {
	return sdk.ClientConfig{
		Issuer: i.URL(), Audience: audience, Now: i.Now,
		ClientID: ClientID, ClientSecret: sdk.NewSecret(ClientSecret),
	}
}

// Now is the time by the issuer's clock.
func (i *Issuer) Now() time.Time {
	i.mu.Lock()
	clock := i.clock
	i.mu.Unlock()
	return clock()
}

// SetTime stops the clock at t.
func (i *Issuer) SetTime(t time.Time) { i.setClock(func() time.Time { return t }) }

// Advance moves the clock, stopped or not, by d.
func (i *Issuer) Advance(d time.Duration) {
	i.mu.Lock()
	clock := i.clock
	i.mu.Unlock()
	i.setClock(func() time.Time { return clock().Add(d) })
}

func (i *Issuer) setClock(clock func() time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clock = clock
}

// SetDown makes every request fail with 503, or ends that.
func (i *Issuer) SetDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Fetches is how often the key set was asked for, while down included.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// Exchanges is how often a key was presented to the token endpoint, while down
// included.
func (i *Issuer) Exchanges() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.exchanges
}

// ServeHTTP answers for the issuer, for tests that bring a transport of their
// own.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	down := i.down
	switch r.URL.Path {
	case wire.PathJWKS:
		i.fetches++
	case wire.PathToken:
		i.exchanges++
	case wire.PathVerify:
		i.verifications++
	case pathStatusList:
		i.status.fetches++
	}
	i.mu.Unlock()
	switch {
	case down:
		reply(w, http.StatusServiceUnavailable, wire.ErrorResponse{Error: wire.ErrTemporarilyUnavailable})
	case r.URL.Path == wire.PathJWKS && r.Method == http.MethodGet:
		w.Header().Set("Content-Type", wire.MediaJSON)
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(i.KeySet()) // the client is gone: nobody to tell
	case r.URL.Path == pathStatusList && r.Method == http.MethodGet:
		i.serveStatusList(w, r)
	case r.URL.Path == wire.PathToken && r.Method == http.MethodPost:
		i.token(w, r)
	case r.URL.Path == wire.PathVerify && r.Method == http.MethodPost:
		i.verify(w, r)
	default:
		http.NotFound(w, r)
	}
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", wire.MediaJSON)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(fmt.Sprintf("sdktest: %v", err))
	}
}
