package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/httpapi"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

var sample = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{.*\})?) ([^ ]+)$`)

// scrape reads /metrics: values by series, as they are spelled there.
func (w *world) scrape() map[string]float64 {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.server.Operations().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != http.StatusOK {
		w.t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	series := map[string]float64{}
	for line := range strings.Lines(rec.Body.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			w.t.Fatalf("cannot be read: %q", line)
		}
		value, err := strconv.ParseFloat(m[2], 64)
		if _, twice := series[m[1]]; err != nil || twice {
			w.t.Fatalf("%v, twice %t: %q", err, twice, line)
		}
		series[m[1]] = value
	}
	return series
}

// ours are the series of a name that are not zero.
func ours(series map[string]float64, name string) map[string]float64 {
	found := map[string]float64{}
	for s, value := range series {
		if strings.HasPrefix(s, name) && value != 0 {
			found[s] = value
		}
	}
	return found
}

// measuredWorld is a world with all that serve wires for /metrics.
func measuredWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	cfg := w.config(w.store)
	server, err := httpapi.New(cfg.Config)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verifier.New(verifier.Config{Store: w.store, Updated: server.Metrics().Updated})
	if err != nil {
		t.Fatal(err)
	}
	w.issuer, err = issuer.New(issuer.Config{Issuer: issuerURL, Keyring: cfg.Keys, Signed: server.Metrics().Signed})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Exchange = w.newExchange(v, w.issuer)
	cfg.Watched = httpapi.Watched{Verifier: v, Usage: w.counts, Activity: w.store.Activity, Census: manage.NewCensus(w.store, slog.New(slog.DiscardHandler))}
	ctx, stop := context.WithCancel(t.Context())
	var counting sync.WaitGroup
	counting.Go(func() { cfg.Watched.Census.Run(ctx) })
	t.Cleanup(func() { stop(); counting.Wait() })
	w.server = server
	if err := server.Open(cfg.Parts); err != nil {
		t.Fatal(err)
	}
	return w
}

// series of exchanges, refusals and verifications of which the counts are known.
func (w *world) knownSeries() {
	w.t.Helper()
	_, spent := w.newKey(manage.NewKey{Remaining: uses(2)})
	_, good := w.newKey(manage.NewKey{})
	id, revoked := w.newKey(manage.NewKey{})
	if _, err := w.manage.RevokeKey(w.t.Context(), id); err != nil {
		w.t.Fatal(err)
	}
	for range 5 {
		w.exchange(form(spent)) // 2 granted, 3 spent
	}
	for range 4 {
		w.exchange(form(revoked))
	}
	for _, f := range []string{
		form(good, "audience", "https://evil.example.com").Encode(), // audience
		form(good, "scope", "a:b").Encode(),                         // permission
		form(good, "cost", "none").Encode(),                         // bad_request
		form("ck_nonsense").Encode(),                                // malformed
		form(neverMade(w.t)).Encode(),                               // unknown
	} {
		w.do(w.post(f))
	}
	r := w.post(form(good).Encode())
	r.SetBasicAuth(w.clientID, keepSecret("never its secret"))
	w.do(r) // invalid_client
	for range 3 {
		r := w.post(form(good).Encode())
		r.Header.Set("Idempotency-Key", `"1"`)
		w.do(r) // 1 granted, 2 replayed
	}
	gate := w.verifying("gate", client.KeysPeek)
	gate.verify(good)
	gate.verify(good)                 // 2 granted
	gate.verify(good, `"cost":0`)     // peeked
	gate.verify(revoked)              // revoked
	gate.verify(spent)                // spent
	gate.verify(good, `"cost":"one"`) // bad_request
	w.get(wire.PathJWKS)
	w.get("/nowhere")
}

func neverMade(t *testing.T) string {
	t.Helper()
	secret, err := verifier.GenerateKey("ck")
	if err != nil {
		t.Fatal(err)
	}
	return keepSecret(secret.Reveal())
}

func TestMetricsCountExactlyWhatHappened(t *testing.T) {
	w := measuredWorld(t)
	w.knownSeries()
	got := w.scrape()
	for name, want := range map[string]map[string]float64{
		"cambio_exchanges_total": {
			`cambio_exchanges_total{endpoint="token",outcome="granted"}`:        3,
			`cambio_exchanges_total{endpoint="token",outcome="replayed"}`:       2,
			`cambio_exchanges_total{endpoint="token",outcome="spent"}`:          3,
			`cambio_exchanges_total{endpoint="token",outcome="revoked"}`:        4,
			`cambio_exchanges_total{endpoint="token",outcome="audience"}`:       1,
			`cambio_exchanges_total{endpoint="token",outcome="permission"}`:     1,
			`cambio_exchanges_total{endpoint="token",outcome="bad_request"}`:    1,
			`cambio_exchanges_total{endpoint="token",outcome="malformed"}`:      1,
			`cambio_exchanges_total{endpoint="token",outcome="unknown"}`:        1,
			`cambio_exchanges_total{endpoint="token",outcome="invalid_client"}`: 1,
			`cambio_exchanges_total{endpoint="verify",outcome="granted"}`:       2,
			`cambio_exchanges_total{endpoint="verify",outcome="peeked"}`:        1,
			`cambio_exchanges_total{endpoint="verify",outcome="revoked"}`:       1,
			`cambio_exchanges_total{endpoint="verify",outcome="spent"}`:         1,
			`cambio_exchanges_total{endpoint="verify",outcome="bad_request"}`:   1,
		},
		"cambio_http_requests_total": {
			`cambio_http_requests_total{code="200",endpoint="/oauth2/token",method="POST"}`:         5,
			`cambio_http_requests_total{code="400",endpoint="/oauth2/token",method="POST"}`:         9,
			`cambio_http_requests_total{code="401",endpoint="/oauth2/token",method="POST"}`:         1,
			`cambio_http_requests_total{code="429",endpoint="/oauth2/token",method="POST"}`:         3,
			`cambio_http_requests_total{code="200",endpoint="/v1/keys/verify",method="POST"}`:       5,
			`cambio_http_requests_total{code="400",endpoint="/v1/keys/verify",method="POST"}`:       1,
			`cambio_http_requests_total{code="200",endpoint="/.well-known/jwks.json",method="GET"}`: 1,
			`cambio_http_requests_total{code="404",endpoint="none",method="GET"}`:                   1,
		},
		"cambio_http_request_duration_seconds_count": {
			`cambio_http_request_duration_seconds_count{endpoint="/oauth2/token"}`:          18,
			`cambio_http_request_duration_seconds_count{endpoint="/v1/keys/verify"}`:        6,
			`cambio_http_request_duration_seconds_count{endpoint="/.well-known/jwks.json"}`: 1,
			`cambio_http_request_duration_seconds_count{endpoint="none"}`:                   1,
		},
		"cambio_signing_seconds_count":       {`cambio_signing_seconds_count{algorithm="EdDSA"}`: 5},
		"cambio_ledger_update_seconds_count": {`cambio_ledger_update_seconds_count`: 20}, // all but malformed ones, mistakes and strangers
		"cambio_ledger_group_requests_sum":   {`cambio_ledger_group_requests_sum`: 20},
		"cambio_ledger_updates_failed":       {},
		"cambio_store_errors_total":          {},
		"cambio_http_requests_in_flight":     {},
		"cambio_slots":                       {"cambio_slots": 512},
		"cambio_clients_remembered":          {"cambio_clients_remembered": 2},
		"cambio_signing_keys{":               {`cambio_signing_keys{algorithm="EdDSA",state="active"}`: 1, `cambio_signing_keys{algorithm="EdDSA",state="pending"}`: 1},
		"cambio_open":                        {"cambio_open": 1},
	} {
		if diff := cmp.Diff(want, ours(got, name)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	if pending := got["cambio_audit_refusals_pending"]; pending != 1 {
		t.Errorf("%v refused authentications pending", pending)
	}
	w.agreesWithUsage(got)
}

// agreesWithUsage holds what was counted here against what the database has of it.
func (w *world) agreesWithUsage(got map[string]float64) {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	stop()
	w.counts.Run(ctx) // writes what is pending, at its end
	points, err := w.store.Usage(w.t.Context(), usage.Query{Group: []usage.Dimension{usage.ByOutcome}})
	if err != nil {
		w.t.Fatal(err)
	}
	stored := map[string]float64{}
	for _, p := range points {
		stored[p.Outcome] = float64(p.Requests)
	}
	counted := map[string]float64{}
	for _, outcome := range []string{"granted", "spent", "revoked", "audience", "permission"} { // of known keys
		for _, endpoint := range []string{"token", "verify"} {
			counted[outcome] += got[fmt.Sprintf("cambio_exchanges_total{endpoint=%q,outcome=%q}", endpoint, outcome)]
		}
	}
	if diff := cmp.Diff(stored, counted); diff != "" {
		w.t.Errorf("(-database +metrics)\n%s", diff)
	}
	after := w.scrape()
	if after["cambio_usage_written_total"] != stored["spent"]+stored["revoked"]+stored["audience"]+stored["permission"] || after["cambio_usage_pending"] != 0 {
		w.t.Errorf("%v written, %v pending", after["cambio_usage_written_total"], after["cambio_usage_pending"])
	}
}

// hostile sends what strangers may make up, with n in all of it.
func (w *world) hostile(n int) {
	odd := fmt.Sprintf("x%d", n)
	for _, r := range []*http.Request{
		httptest.NewRequest(http.MethodGet, "/"+odd, nil),
		httptest.NewRequest(http.MethodGet, "/oauth2/token/"+odd, nil),
		httptest.NewRequest("BREW"+odd, "/"+odd, nil),
		httptest.NewRequest("BREW"+odd, wire.PathToken, nil),
		httptest.NewRequest(http.MethodGet, "/v1/keys/"+odd, nil),
		httptest.NewRequest(http.MethodGet, "/v1/keys/%2e%2e%2f"+odd, nil),
		httptest.NewRequest(http.MethodDelete, "/v1/clients/"+odd+"/"+odd, nil),
		httptest.NewRequest(http.MethodGet, wire.PathStatusLists+"/"+odd, nil),
		httptest.NewRequest(http.MethodPost, wire.PathToken+"?"+odd+"="+odd, strings.NewReader(odd)),
		httptest.NewRequest(http.MethodPost, wire.PathVerify, strings.NewReader(odd)),
		w.post(form(odd, "audience", odd, "keyspace", odd, "client_id", odd).Encode()),
		w.post(form(odd).Encode()),
	} {
		if n%2 == 0 {
			r.SetBasicAuth(odd, odd)
		}
		r.Host = odd + ".example.com"
		r.Header.Set("User-Agent", odd)
		r.Header.Set("X-Forwarded-For", fmt.Sprintf("10.0.%d.%d", n/256, n%256))
		r.RemoteAddr = fmt.Sprintf("10.1.%d.%d:1", n/256, n%256)
		w.server.Public().ServeHTTP(httptest.NewRecorder(), r)
	}
}

func TestStrangersMakeNoSeries(t *testing.T) {
	w := measuredWorld(t)
	w.hostile(0)
	w.hostile(1)
	names := func() []string {
		return slices.Sorted(maps.Keys(allOurs(w.scrape())))
	}
	names()
	before := names()
	for n := 2; n < 400; n++ {
		w.hostile(n)
	}
	after := names()
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("(-before +after)\n%s", diff)
	}
	for _, series := range after {
		if strings.Contains(series, "x3") || strings.Contains(series, "10.1.") || strings.Contains(series, "BREW") {
			t.Errorf("holds what was sent: %s", series)
		}
	}
}

// allOurs are the series that are of Cambio.
func allOurs(series map[string]float64) map[string]float64 {
	maps.DeleteFunc(series, func(s string, _ float64) bool {
		return !strings.HasPrefix(s, "cambio_") || strings.HasPrefix(s, "cambio_keys")
	})
	return series
}

// many is a manage.Counter of more keyspaces than can be labels.
type many struct{}

func (many) CountKeys(context.Context) (counts []manage.KeyCount, _ error) {
	for i := range 150 {
		counts = append(counts, manage.KeyCount{Keyspace: fmt.Sprintf("k%03d", i), State: "active", Keys: int64(i)})
	}
	return counts, nil
}

func TestOnlyTheLargestKeyspacesAreLabels(t *testing.T) {
	census := manage.NewCensus(many{}, slog.New(slog.DiscardHandler))
	w := newWorld(t, options{config: func(cfg *setup) { cfg.Watched.Census = census }})
	w.scrape() // asks for a count
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for census.Last().At.IsZero() {
			time.Sleep(time.Millisecond)
		}
		stop()
	}()
	census.Run(ctx)
	got := ours(w.scrape(), "cambio_keys{")
	if n := len(got); n != 101 || got[`cambio_keys{keyspace="k149",state="active"}`] != 149 || got[`cambio_keys{keyspace="(others)",state="active"}`] != 49*50/2 {
		t.Errorf("%d series: %v", n, got)
	}
}

func TestMetricsAreForWhoRunsUsAlone(t *testing.T) {
	w := newWorld(t)
	w.want(w.get("/metrics"), http.StatusNotFound, "invalid_request")
}

func TestOpenConnectionsAreCounted(t *testing.T) {
	w := newWorld(t)
	r := w.run()
	if code := r.get(r.public + wire.PathJWKS); code != http.StatusOK {
		t.Fatal(code)
	}
	if n := w.scrape()["cambio_http_connections"]; n != 1 {
		t.Errorf("%v connections", n)
	}
	r.client.CloseIdleConnections()
	r.stop()
	<-r.ended
	for w.scrape()["cambio_http_connections"] != 0 { // the server's goroutine ends by itself
		if t.Context().Err() != nil {
			t.Fatal("never closed")
		}
	}
}

func TestAnAnswerThatIsCutOffIsCountedAsSuch(t *testing.T) {
	w := newWorld(t)
	cut := httpapi.Panicking(w.server, http.ErrAbortHandler)
	func() {
		defer func() {
			if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
				t.Errorf("panicked with %v", err)
			}
		}()
		cut.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}()
	httpapi.Panicking(w.server, "what").ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	want := map[string]float64{
		`cambio_http_requests_total{code="cut",endpoint="none",method="GET"}`: 1,
		`cambio_http_requests_total{code="500",endpoint="none",method="GET"}`: 1,
	}
	if diff := cmp.Diff(want, ours(w.scrape(), "cambio_http_requests")); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsMeasuredAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	measured, plain := httpapi.Around(w.server)
	allocations := func(h http.Handler) float64 {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		return testing.AllocsPerRun(1000, func() { h.ServeHTTP(httptest.NewRecorder(), r) })
	}
	if with, without := allocations(measured), allocations(plain); with != without {
		t.Errorf("%v allocations, %v without", with, without)
	}
}
