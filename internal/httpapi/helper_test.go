package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/httpapi"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

const (
	issuerURL = "https://keys.example.com"
	orders    = "https://orders.example.com"
	billing   = "https://billing.example.com"
)

var noon = time.Date(2026, time.March, 10, 12, 0, 0, 0, time.UTC)

// everything is all that the tests of this package ever logged, and secrets
// all that must not be in there.
var (
	everything lockedBuffer
	secrets    sync.Map
)

func keepSecret(s string) string {
	if s != "" {
		secrets.Store(s, true)
	}
	return s
}

func TestMain(m *testing.M) {
	code := m.Run()
	logged := everything.String()
	secrets.Range(func(secret, _ any) bool {
		if strings.Contains(logged, secret.(string)) {
			fmt.Fprintln(os.Stderr, "FAIL: a secret of the tests was logged:", secret)
			code = 1
		}
		return true
	})
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: goroutines outlived the tests:", err)
		code = 1
	}
	os.Exit(code)
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// world is a whole server on a database of its own, whose clock stands still.
type world struct {
	counts   *usage.Recorder
	refusals *audit.Recorder // writes nothing until it is run
	t        *testing.T
	store    *sqlite.Store
	manage   *manage.Manager
	clock    *atomic.Pointer[time.Time]
	logs     *lockedBuffer
	master   issuer.MasterKey
	issuer   *issuer.Issuer
	server   *httpapi.Server

	clientID, secret string // may exchange for orders and billing
}

// options change how a world is built.
type options struct {
	config func(*setup)
	store  func(verifier.Store) verifier.Store // between the verifier and the database
}

func newWorld(t *testing.T, with ...options) *world {
	t.Helper()
	w := &world{t: t, clock: &atomic.Pointer[time.Time]{}, logs: &lockedBuffer{}, master: issuer.NewMasterKey()}
	w.setClock(noon)
	now := func() time.Time { return *w.clock.Load() }
	var err error
	w.store, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "cambio.db"), sqlite.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	w.manage = manage.New(w.store)

	w.refusals = audit.NewRecorder(audit.RecorderConfig{Store: w.store, Log: slog.New(slog.DiscardHandler), Now: now})

	var keys verifier.Store = w.store
	var opt options
	if len(with) > 0 {
		opt = with[0]
	}
	if opt.store != nil {
		keys = opt.store(keys)
	}
	cfg := w.config(keys)
	if opt.config != nil {
		opt.config(&cfg)
	}
	if w.server, err = newServer(cfg); err != nil {
		t.Fatal(err)
	}
	w.clientID = "orders-backend_1"
	w.secret = w.newClient(manage.NewClient{ID: w.clientID, Audiences: []string{orders, billing}})
	return w
}

// setup is all that makes a server that is open.
type setup struct {
	httpapi.Config
	httpapi.Parts
}

func newServer(s setup) (*httpapi.Server, error) {
	server, err := httpapi.New(s.Config)
	if err != nil || s.Exchange == nil && s.JWKS == nil {
		return server, err
	}
	return server, server.Open(s.Parts)
}

func (w *world) config(keys verifier.Store) setup {
	w.t.Helper()
	ring, err := issuer.OpenKeyring(w.t.Context(), issuer.KeyringConfig{Store: w.store, MasterKey: w.master})
	if err != nil {
		w.t.Fatal(err)
	}
	iss, err := issuer.New(issuer.Config{Issuer: issuerURL, Keyring: ring})
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := verifier.New(verifier.Config{Store: keys})
	if err != nil {
		w.t.Fatal(err)
	}
	w.issuer = iss
	return setup{
		httpapi.Config{
			Issuer: issuerURL, Now: func() time.Time { return *w.clock.Load() },
			Log: slog.New(slog.NewJSONHandler(io.MultiWriter(w.logs, &everything), &slog.HandlerOptions{Level: slog.LevelDebug})),
		},
		httpapi.Parts{Exchange: w.newExchange(v, iss), Keys: ring, Manage: w.manage, Refusals: w.refusals, JWKS: ring.JWKS, Statuses: w.statuses(w.store), Ready: w.store.Ping},
	}
}

func (w *world) statuses(store issuer.StatusStore) *issuer.StatusLists {
	w.t.Helper()
	lists, err := issuer.OpenStatusLists(w.t.Context(), issuer.StatusListsConfig{Issuer: w.issuer, Store: store})
	if err != nil {
		w.t.Fatal(err)
	}
	return lists
}

// newExchange counts refusals in w.counts, which nobody writes.
func (w *world) newExchange(v *verifier.Verifier, i *issuer.Issuer) *exchange.Exchange {
	w.t.Helper()
	w.counts = usage.NewRecorder(usage.RecorderConfig{Store: w.store, Log: slog.New(slog.DiscardHandler)})
	x, err := exchange.New(exchange.Config{
		Clients: w.store, Keys: w.store, Verifier: v, Issuer: i, Usage: w.counts,
		Revoke: w.manage.RevokeFor,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return x
}

// rebuild makes the server again around another exchange.
func (w *world) rebuild(x *exchange.Exchange) {
	w.t.Helper()
	cfg := w.config(w.store)
	cfg.Exchange = x
	var err error
	if w.server, err = newServer(cfg); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) setClock(at time.Time) { w.clock.Store(&at) }

func (w *world) newClient(n manage.NewClient) (secret string) {
	w.t.Helper()
	c, err := w.manage.CreateClient(w.t.Context(), n)
	if err != nil {
		w.t.Fatal(err)
	}
	return keepSecret(c.Secret.Reveal())
}

// addClient and addKey store things as they are, also with secrets that we never make.
func (w *world) addClient(c client.Client) {
	w.t.Helper()
	w.change(func(ctx context.Context, tx manage.Tx) error { return tx.AddClient(ctx, c) })
}

func (w *world) addKey(key verifier.Key) {
	w.t.Helper()
	budget := verifier.Budget{ID: verifier.BudgetID("bud_" + key.ID)}
	w.change(func(ctx context.Context, tx manage.Tx) error {
		return tx.AddKeys(ctx, []manage.KeyRecord{{Record: verifier.Record{Key: key, Keyspace: verifier.Keyspace{Name: key.Keyspace}, Budget: &budget}}})
	})
}

func (w *world) change(do func(ctx context.Context, tx manage.Tx) error) {
	w.t.Helper()
	if err := w.store.Change(w.t.Context(), do); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) newKey(n manage.NewKey) (verifier.KeyID, string) {
	w.t.Helper()
	key, err := w.manage.CreateKey(w.t.Context(), n)
	if err != nil {
		w.t.Fatal(err)
	}
	return key.Key.ID, keepSecret(key.Secret.Reveal())
}

func (w *world) newKeyspace(name string) {
	w.t.Helper()
	if _, err := w.manage.CreateKeyspace(w.t.Context(), manage.NewKeyspace{Name: name}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remaining(id verifier.KeyID) int64 {
	w.t.Helper()
	view, err := w.manage.Key(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return view.Budget.Remaining
}

// lastLine is the last line that was logged.
func (w *world) lastLine() map[string]any {
	w.t.Helper()
	lines := strings.Split(strings.TrimSpace(w.logs.String()), "\n")
	line := map[string]any{}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil {
		w.t.Fatal(err)
	}
	return line
}

// form is a request for a token that can be granted, with changes: pairs of a
// name and its only value, of which an empty one deletes.
func form(key string, changes ...string) url.Values {
	f := url.Values{
		wire.FieldGrantType:        {wire.GrantTokenExchange},
		wire.FieldSubjectToken:     {key},
		wire.FieldSubjectTokenType: {wire.TypeAPIKey},
		wire.FieldAudience:         {orders},
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "" {
			f.Del(changes[i])
			continue
		}
		f.Set(changes[i], changes[i+1])
	}
	return f
}

// post makes a request as w's client sends it.
func (w *world) post(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, wire.PathToken, strings.NewReader(body))
	r.Header.Set("Content-Type", wire.MediaForm)
	r.SetBasicAuth(w.clientID, w.secret)
	return r
}

func (w *world) exchange(f url.Values) reply { w.t.Helper(); return w.do(w.post(f.Encode())) }

// reply is an answer, read.
type reply struct {
	code   int
	header http.Header
	body   string
	ok     wire.TokenResponse
	err    wire.ErrorResponse
}

func (r reply) String() string { return fmt.Sprintf("%d %v %s", r.code, r.header, r.body) }

// do sends a request to the public handler, and holds every answer that it
// gets to what must be true of all of them.
func (w *world) do(r *http.Request) reply {
	w.t.Helper()
	rec := w.serve(r)
	got := reply{code: rec.Code, header: rec.Header(), body: rec.Body.String()}
	if r.URL.Path == wire.PathToken || got.code >= 400 {
		w.checkOAuth(&got)
	}
	if got.code >= 300 && got.code < 400 && got.code != http.StatusNotModified {
		w.t.Errorf("a redirect: %v", got)
	}
	return got
}

var allowedText = regexp.MustCompile(`^[\x20-\x21\x23-\x5B\x5D-\x7E]*$`) // RFC 6749 §5.2

func (w *world) checkOAuth(got *reply) {
	w.t.Helper()
	if got.header.Get("Content-Type") != "application/json" {
		w.t.Errorf("Content-Type: %v", got)
	}
	if got.header.Get("Cache-Control") != "no-store" || got.header.Get("Pragma") != "no-cache" {
		w.t.Errorf("may be stored: %v", got)
	}
	challenge := got.header.Get("WWW-Authenticate")
	if (challenge != "") != (got.code == http.StatusUnauthorized) {
		w.t.Errorf("WWW-Authenticate belongs on 401 and only there: %v", got)
	}
	if got.header.Get("Access-Control-Allow-Origin") != "" {
		w.t.Errorf("CORS on an OAuth answer: %v", got)
	}
	into := any(&got.err)
	if got.code == http.StatusOK {
		into = &got.ok
	}
	dec := json.NewDecoder(strings.NewReader(got.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		w.t.Errorf("%v: %v", err, got)
	}
	if !allowedText.MatchString(got.err.Error) || !allowedText.MatchString(got.err.Description) {
		w.t.Errorf("characters outside RFC 6749 §5.2: %v", got)
	}
	keepSecret(got.ok.AccessToken)
}

func (w *world) want(got reply, code int, oauthError string) {
	w.t.Helper()
	if got.code != code || got.err.Error != oauthError {
		w.t.Errorf("got %v, want %d %q", got, code, oauthError)
	}
}

// storeFunc stands between the verifier and the database.
type storeFunc func(ctx context.Context, lookup verifier.Lookup, decide func(time.Time, verifier.Found)) error

func (f storeFunc) Update(ctx context.Context, lookup verifier.Lookup, decide func(time.Time, verifier.Found)) error {
	return f(ctx, lookup, decide)
}

// failing is a store that answers every Update with err.
func failing(err error) options {
	return options{store: func(verifier.Store) verifier.Store {
		return storeFunc(func(context.Context, verifier.Lookup, func(time.Time, verifier.Found)) error { return err })
	}}
}

var withReasons = []client.Right{client.TokensExchange, client.ReasonsRead}

func uses(n int64) *int64 { return &n }
