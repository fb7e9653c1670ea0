package httpapi_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// reference is where a token says that its status is, as a path here.
func (w *world) reference(token string) (path string) {
	w.t.Helper()
	status := claims(w.t, token).Status
	if status == nil {
		w.t.Fatal("it has no status")
	}
	path, ours := strings.CutPrefix(status.StatusList.URI, issuerURL)
	if !ours {
		w.t.Errorf("its status is at %s", status.StatusList.URI)
	}
	return path
}

func (w *world) newToken(key string) string {
	w.t.Helper()
	got := w.exchange(form(key))
	w.want(got, http.StatusOK, "")
	return got.ok.AccessToken
}

func TestAStatusListIsPublic(t *testing.T) {
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{})
	path := w.reference(w.newToken(key))
	got := w.get(path)
	for name, want := range map[string]string{
		"Content-Type": "application/statuslist+jwt", "Cache-Control": "public, max-age=1",
		"Access-Control-Allow-Origin": "*", "Content-Encoding": "",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
		}
	}
	if got.code != http.StatusOK || strings.Count(got.body, ".") != 2 || len(got.body) > 1000 {
		t.Errorf("%v", got)
	}
	tag := got.header.Get("ETag")
	again := w.get(path, "If-None-Match", tag)
	if again.code != http.StatusNotModified || again.body != "" || again.header.Get("ETag") != tag || again.header.Get("Cache-Control") != "public, max-age=1" {
		t.Errorf("again: %v", again)
	}
	if again := w.get(path, "If-None-Match", `"another"`); again.code != http.StatusOK || again.body != got.body {
		t.Errorf("with another ETag: %v", again)
	}
	if head := w.do(httptest.NewRequest(http.MethodHead, path, nil)); head.code != http.StatusOK || head.body != "" ||
		head.header.Get("ETag") != tag || head.header.Get("Content-Length") != strconv.Itoa(len(got.body)) {
		t.Errorf("HEAD: %v", head)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		if got := w.do(httptest.NewRequest(method, path, nil)); got.code != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %v", method, got)
		}
	}
}

func TestThePastIsNotKept(t *testing.T) {
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{})
	path := w.reference(w.newToken(key))
	for _, query := range []string{"?time=1686925000", "?time=", "?x=1&time=now"} {
		w.want(w.get(path+query), http.StatusNotImplemented, "invalid_request")
	}
	if got := w.get(path + "?x=1"); got.code != http.StatusOK {
		t.Errorf("another query: %v", got)
	}
}

func TestAListThatIsNotThereIsNotFound(t *testing.T) {
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{})
	path := w.reference(w.newToken(key))
	for _, other := range []string{path[:len(path)-1] + "1", path + "0", path + "/", path + "/x", "/statuslists/", "/statuslists/2.0", "/statuslists/x", "/statuslists/%2e%2e"} {
		w.want(w.get(other), http.StatusNotFound, "invalid_request")
	}
}

func TestTheListsAreListed(t *testing.T) {
	w := newWorld(t)
	if got := w.get(wire.PathStatusLists); got.body != `{"status_lists":[]}` {
		t.Errorf("before there is a key: %v", got)
	}
	w.newKeyspace("other")
	w.clientID = "everywhere"
	w.secret = w.newClient(manage.NewClient{ID: w.clientID, Audiences: []string{orders}, Keyspaces: []string{"*"}})
	_, key := w.newKey(manage.NewKey{})
	first := w.reference(w.newToken(key))
	w.get(first)
	_, other := w.newKey(manage.NewKey{Keyspace: "other"})
	second := w.reference(w.newToken(other))
	w.get(second) // which is not known yet: everything is read
	got := w.get(wire.PathStatusLists)
	want := []string{issuerURL + first, issuerURL + second}
	var doc map[string][]string
	if err := json.Unmarshal([]byte(got.body), &doc); err != nil || len(doc) != 1 || !slices.Equal(doc["status_lists"], want) {
		t.Errorf("%v, want %v; %v", doc, want, err)
	}
	if got.header.Get("Content-Type") != "application/json" || got.header.Get("Access-Control-Allow-Origin") != "*" ||
		w.get(wire.PathStatusLists, "If-None-Match", got.header.Get("ETag")).code != http.StatusNotModified {
		t.Errorf("%v", got)
	}
}

func TestStatusListsOfAnIssuerWithAPath(t *testing.T) {
	const iss = issuerURL + "/eu/tenant-1"
	w := newWorld(t)
	cfg := w.config(w.store)
	cfg.Issuer = iss
	ring, err := issuer.OpenKeyring(t.Context(), issuer.KeyringConfig{Store: w.store, MasterKey: w.master})
	if err != nil {
		t.Fatal(err)
	}
	v, err := verifier.New(verifier.Config{Store: w.store})
	if err != nil {
		t.Fatal(err)
	}
	if w.issuer, err = issuer.New(issuer.Config{Issuer: iss, Keyring: ring}); err != nil {
		t.Fatal(err)
	}
	cfg.Exchange, cfg.Statuses = w.newExchange(v, w.issuer), w.statuses(w.store)
	if w.server, err = newServer(cfg); err != nil {
		t.Fatal(err)
	}
	_, key := w.newKey(manage.NewKey{})
	r := w.post(form(key).Encode())
	r.URL.Path = "/eu/tenant-1" + wire.PathToken
	var answer wire.TokenResponse
	if err := json.Unmarshal([]byte(w.do(r).body), &answer); err != nil {
		t.Fatal(err)
	}
	path := w.reference(keepSecret(answer.AccessToken))
	if got := w.get(path); got.code != http.StatusOK || !strings.HasPrefix(path, "/eu/tenant-1/statuslists/") {
		t.Errorf("%s: %v", path, got)
	}
	if got := w.get("/eu/tenant-1/statuslists"); !strings.Contains(got.body, issuerURL+path) {
		t.Errorf("%v", got)
	}
	w.want(w.get(strings.TrimPrefix(path, "/eu/tenant-1")), http.StatusNotFound, "invalid_request")
}

// brittle is a store of statuses that can be away.
type brittle struct {
	issuer.StatusStore
	err error
}

func (s *brittle) StatusChanges(ctx context.Context, after int64, change func(issuer.StatusChange) error) (int64, time.Time, error) {
	if s.err != nil {
		return 0, time.Time{}, s.err
	}
	return s.StatusStore.StatusChanges(ctx, after, change)
}

func TestWhileStatusesAreNotKnownNobodyIsTold(t *testing.T) {
	w := newWorld(t)
	store := &brittle{StatusStore: w.store}
	cfg := w.config(w.store)
	cfg.Statuses = w.statuses(store)
	var err error
	if w.server, err = newServer(cfg); err != nil {
		t.Fatal(err)
	}
	_, key := w.newKey(manage.NewKey{})
	path := w.reference(w.newToken(key))
	w.get(path)
	store.err = errors.New("the database is away")
	for _, unknown := range []string{"/statuslists/7.0", path, wire.PathStatusLists} {
		deadline := time.Now().Add(20 * time.Second) // it is known for a second more
		got := w.get(unknown)
		for got.code == http.StatusOK && time.Now().Before(deadline) {
			got = w.get(unknown)
		}
		w.want(got, http.StatusServiceUnavailable, "temporarily_unavailable")
		if got.header.Get("Retry-After") != "1" || strings.Contains(got.body, "charged") {
			t.Errorf("%v", got)
		}
	}
	if !strings.Contains(w.logs.String(), "the database is away") {
		t.Error("nobody was told why")
	}
}

func TestALongStatusListIsCompressedForWhoAsksForIt(t *testing.T) {
	w := newWorld(t)
	var path string
	for range 400 {
		id, key := w.newKey(manage.NewKey{})
		if path == "" {
			path = w.reference(w.newToken(key))
		}
		if _, err := w.manage.DisableKey(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(accept ...string) *http.Response {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header["Accept-Encoding"] = accept
		rec := httptest.NewRecorder()
		w.server.Public().ServeHTTP(rec, r)
		return rec.Result()
	}
	read := func(r io.Reader) string {
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	plain := ask()
	long := read(plain.Body)
	for accept, want := range map[string]string{
		"": "", "br": "", "gzip": "gzip", "br, GZIP;q=0.5": "gzip", "gzip;q=0": "", "gzip; q=0.0, *": "", "deflate,gzip": "gzip", "gzip;q=x": "",
	} {
		got := ask(accept)
		if got.Header.Get("Content-Encoding") != want || got.Header.Get("Vary") != "Accept-Encoding" || got.StatusCode != http.StatusOK {
			t.Errorf("%q: %d %v", accept, got.StatusCode, got.Header)
		}
		if want == "" {
			continue
		}
		if got.Header.Get("ETag") == plain.Header.Get("ETag") {
			t.Errorf("%q: two forms under one strong ETag", accept)
		}
		short := read(got.Body)
		unzip, err := gzip.NewReader(strings.NewReader(short))
		if err != nil {
			t.Fatal(err)
		}
		if read(unzip) != long || len(short) >= len(long) {
			t.Errorf("%q: another list, or %d bytes in place of %d", accept, len(short), len(long))
		}
	}
	for _, form := range []*http.Response{plain, ask("gzip")} {
		again := w.get(path, "If-None-Match", form.Header.Get("ETag"), "Accept-Encoding", form.Header.Get("Content-Encoding"))
		if again.code != http.StatusNotModified {
			t.Errorf("%v", again)
		}
	}
}
