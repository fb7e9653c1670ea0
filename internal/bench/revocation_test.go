package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/load"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/verifier"
)

const (
	backends     = 3    // each with a Checker of its own
	checksPerSec = 1000 // of all of them together
)

// BenchmarkRevocationReachesBackends tells how long after a key was revoked, by a
// process other than the server's, the first backend and the last refuse its token
// for good, while they check the tokens of all keys.
func BenchmarkRevocationReachesBackends(b *testing.B) {
	keys := 60
	if testing.Short() {
		keys = 3
	}
	url := "sqlite:" + filepath.Join(b.TempDir(), "cambio.db")
	db, err := store.Open(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	server := start(b, "revocation", load.ServerConfig{Store: url, Master: issuer.NewMasterKey().Reveal()})
	ids, tokens := tokensOf(b, manage.New(db), server.Addr, keys)

	w := watchers{revoked: make([]atomic.Int64, keys), refused: make([]sync.Map, keys)}
	stop := w.start(b, server.Addr, tokens)
	defer stop()
	for b.Loop() {
		for i, id := range ids {
			if w.revoked[i].Load() != 0 { // it cannot be revoked twice
				continue
			}
			if _, err := manage.New(db).RevokeKey(b.Context(), id); err != nil {
				b.Fatal(err)
			}
			w.revoked[i].Store(time.Now().UnixNano())
			time.Sleep(130 * time.Millisecond) // meets every phase of a list's ttl
		}
		for w.missing() {
			time.Sleep(10 * time.Millisecond)
		}
	}
	took := w.latencies()
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
	b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "max-ms")
	b.ReportMetric(float64(w.checks.Load())/w.since().Seconds(), "checks/s")
}

// tokensOf makes keys, and exchanges each.
func tokensOf(b *testing.B, m *manage.Manager, addr string, n int) (ids []verifier.KeyID, tokens []string) {
	made, err := m.CreateClient(b.Context(), manage.NewClient{ID: "bench", Audiences: []string{"https://orders.example.com"}})
	if err != nil {
		b.Fatal(err)
	}
	for range n {
		key, err := m.CreateKey(b.Context(), manage.NewKey{})
		if err != nil {
			b.Fatal(err)
		}
		form := url.Values{
			wire.FieldGrantType: {wire.GrantTokenExchange}, wire.FieldSubjectTokenType: {wire.TypeAPIKey},
			wire.FieldSubjectToken: {key.Secret.Reveal()}, wire.FieldClientID: {"bench"}, wire.FieldClientSecret: {made.Secret.Reveal()},
		}
		resp, err := http.PostForm("http://"+addr+wire.PathToken, form)
		if err != nil {
			b.Fatal(err)
		}
		var answer wire.TokenResponse
		err = json.NewDecoder(resp.Body).Decode(&answer)
		_ = resp.Body.Close()
		if err != nil || answer.AccessToken == "" {
			b.Fatalf("%d, %v", resp.StatusCode, err)
		}
		ids, tokens = append(ids, key.Key.ID), append(tokens, answer.AccessToken)
	}
	return ids, tokens
}

// watchers are backends that check tokens all the time.
type watchers struct {
	began   time.Time
	checks  atomic.Int64
	revoked []atomic.Int64 // when each key was, in nanoseconds
	refused []sync.Map     // when each backend first refused each token
}

func (w *watchers) since() time.Duration { return time.Since(w.began) }

func (w *watchers) start(b *testing.B, addr string, tokens []string) (stop func()) {
	w.began = time.Now()
	done := make(chan struct{})
	var running sync.WaitGroup
	for backend := range backends {
		checker, err := sdk.NewChecker(sdk.CheckerConfig{
			Issuer: "https://keys.example.com", Audience: "https://orders.example.com",
			HTTPClient: &http.Client{Transport: elsewhere(addr)},
		})
		if err != nil {
			b.Fatal(err)
		}
		running.Go(func() {
			pace := time.NewTicker(backends * time.Second / checksPerSec)
			defer pace.Stop()
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				case <-pace.C:
				}
				one := i % len(tokens)
				_, err := checker.Check(b.Context(), tokens[one])
				w.checks.Add(1)
				switch revoked := w.revoked[one].Load(); {
				case errors.Is(err, sdk.ErrRefused):
					w.refused[one].LoadOrStore(backend, time.Now().UnixNano())
				case err != nil:
					b.Errorf("a check: %v", err)
				case revoked != 0:
					if at, early := w.refused[one].Load(backend); early {
						b.Errorf("accepted again, after it was refused at %v", at)
					}
				}
			}
		})
	}
	return func() { close(done); running.Wait() }
}

func (w *watchers) missing() bool {
	return slices.ContainsFunc(w.each(), func(took time.Duration) bool { return took < 0 })
}

func (w *watchers) latencies() []time.Duration {
	took := w.each()
	slices.Sort(took)
	return took
}

// each is what every backend took for every key, negative if it accepts it still.
func (w *watchers) each() (took []time.Duration) {
	for i := range w.revoked {
		for backend := range backends {
			at, refused := w.refused[i].Load(backend)
			if !refused {
				took = append(took, -1)
				continue
			}
			took = append(took, max(0, time.Duration(at.(int64)-w.revoked[i].Load())))
		}
	}
	return took
}

// elsewhere sends requests for the issuer to where it really is.
type elsewhere string

func (addr elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.String(), "https://keys.example.com/") {
		return nil, fmt.Errorf("asked for %s", r.URL)
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", string(addr)
	return http.DefaultTransport.RoundTrip(r)
}
