package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// bounded is a world with a limit on failures, which goes by the world's clock.
func bounded(t *testing.T, limit string) *world {
	t.Helper()
	rate, err := verifier.ParseRate(limit)
	if err != nil {
		t.Fatal(err)
	}
	return newWorld(t, options{config: func(cfg *setup) { cfg.FailureLimit = rate }})
}

// later moves the clock.
func (w *world) later(d time.Duration) { w.setClock(w.clock.Load().Add(d)) }

// guess sends n keys that do not exist.
func (w *world) guess(n int) (last reply) {
	w.t.Helper()
	for range n {
		key, err := verifier.GenerateKey("ck")
		if err != nil {
			w.t.Fatal(err)
		}
		last = w.exchange(form(keepSecret(key.Reveal())))
	}
	return last
}

// intrude fails n times to authenticate.
func (w *world) intrude(n int) {
	w.t.Helper()
	for i := range n {
		r := w.post(form("x").Encode())
		r.SetBasicAuth("orders-backend_1", "wrong secret "+strconv.Itoa(i))
		w.do(r)
	}
}

func (w *world) wantTooMany(got reply, retry string) {
	w.t.Helper()
	w.want(got, http.StatusTooManyRequests, "temporarily_unavailable")
	if got.header.Get("Retry-After") != retry || got.err.Reason != "" || got.err.RetryAfterMS != 0 {
		w.t.Errorf("%v, want Retry-After %s", got, retry)
	}
}

func TestOverTheLimitEveryBadKeyHasOneOtherAnswer(t *testing.T) {
	w := bounded(t, "20/1m")
	for _, rights := range [][]client.Right{nil, withReasons} {
		id := fmt.Sprintf("backend-%d", len(rights))
		w.clientID, w.secret = id, w.newClient(manage.NewClient{ID: id, Audiences: []string{orders}, Rights: rights})
		w.want(w.guess(20), http.StatusBadRequest, "invalid_request")
		first := w.guess(1)
		w.wantTooMany(first, "30")
		keys := badKeysOf(w, id)
		for reason, key := range keys {
			for _, f := range [][]string{nil, {"audience", "https://evil.example.com"}, {"scope", "malformed"}, {"audience", ""}} {
				if got := w.exchange(form(key, f...)); got.String() != first.String() {
					t.Errorf("%s %v:\n%v, want\n%v", reason, f, got, first)
				}
			}
		}
	}
}

// badKeysOf are badKeys without a change of the clock.
func badKeysOf(w *world, keyspace string) map[string]string {
	w.t.Helper()
	w.newKeyspace(keyspace)
	keys := map[string]string{"malformed": keepSecret("ck_no-key"), "a JWT": "eyJhbGciOiJub25lIn0.e30.x"}
	_, keys["wrong keyspace"] = w.newKey(manage.NewKey{Keyspace: keyspace})
	id, key := w.newKey(manage.NewKey{})
	keys["revoked"] = key
	if _, err := w.manage.RevokeKey(w.t.Context(), id); err != nil {
		w.t.Fatal(err)
	}
	id, key = w.newKey(manage.NewKey{})
	keys["disabled"] = key
	if _, err := w.manage.DisableKey(w.t.Context(), id); err != nil {
		w.t.Fatal(err)
	}
	return keys
}

func TestAGoodKeyIsDecidedAsUsualOverTheLimit(t *testing.T) {
	w := bounded(t, "4/1h")
	_, good := w.newKey(manage.NewKey{Permissions: projects})
	_, spent := w.newKey(manage.NewKey{Remaining: uses(1)})
	_, fast := w.newKey(manage.NewKey{Rate: verifier.Rate{Limit: 1, Window: time.Minute, Burst: 1}})
	w.wantTooMany(w.guess(5), "1800")
	w.want(w.exchange(form(good)), http.StatusOK, "")
	w.want(w.exchange(form(good, "audience", "https://evil.example.com")), http.StatusBadRequest, "invalid_target")
	w.want(w.exchange(form(good, "scope", "projects:admin")), http.StatusBadRequest, "invalid_scope")
	for _, key := range []string{spent, fast} {
		w.want(w.exchange(form(key)), http.StatusOK, "")
		w.want(w.exchange(form(key)), http.StatusTooManyRequests, "invalid_request")
	}
}

func TestWhatSucceedsIsNeverCounted(t *testing.T) {
	w := bounded(t, "2/1h")
	_, good := w.newKey(manage.NewKey{Permissions: projects})
	_, spent := w.newKey(manage.NewKey{Remaining: uses(1)})
	for range 10 {
		w.want(w.exchange(form(good)), http.StatusOK, "")
		w.want(w.exchange(form(good, "scope", "x:y")), http.StatusBadRequest, "invalid_scope")
		w.want(w.exchange(form(good, "grant_type", "x")), http.StatusBadRequest, "unsupported_grant_type")
		w.exchange(form(spent))
	}
	w.want(w.guess(2), http.StatusBadRequest, "invalid_request")
	w.wantTooMany(w.guess(1), "1800")
}

func TestTheLimitIsOfAClientAndItsAddress(t *testing.T) {
	w := bounded(t, "3/1h")
	other := w.newClient(manage.NewClient{ID: "other", Audiences: []string{orders}})
	w.wantTooMany(w.guess(4), "2400")
	from := w.post(form("ck_bad").Encode())
	from.RemoteAddr = "198.51.100.1:1"
	w.want(w.do(from), http.StatusBadRequest, "invalid_request")
	w.clientID, w.secret = "other", other
	w.want(w.guess(3), http.StatusBadRequest, "invalid_request")
}

func TestAnAddressThatIsNotBelievedDoesNotGetAroundTheLimit(t *testing.T) {
	w := bounded(t, "3/1h")
	for i := range 10 {
		r := w.post(form(fmt.Sprintf("ck_bad_%d", i)).Encode())
		r.Header.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i))
		if got := w.do(r); (got.code == http.StatusTooManyRequests) != (i >= 3) {
			t.Errorf("attempt %d: %v", i, got)
		}
	}
}

func TestABadKeyThatIsSentTwiceCountsOnce(t *testing.T) {
	w := bounded(t, "3/1h")
	for i := range 3 {
		key := fmt.Sprintf("ck_bad_%d", i)
		w.want(w.exchange(form(key)), http.StatusBadRequest, "invalid_request")
		again := form(key, "client_id", w.clientID, "client_secret", w.secret) // the other way to authenticate
		r := w.post(again.Encode())
		r.Header.Del("Authorization")
		w.want(w.do(r), http.StatusBadRequest, "invalid_request")
	}
	w.wantTooMany(w.guess(1), "2400")
}

func TestCredentialsThatAreSentTwiceCountOnce(t *testing.T) {
	w := bounded(t, "3/1h")
	for i := range 3 {
		secret := keepSecret(fmt.Sprintf("a wrong secret %d", i))
		r := w.post(form("x").Encode())
		r.SetBasicAuth(w.clientID, secret)
		w.want(w.do(r), http.StatusUnauthorized, "invalid_client")
		r = w.post(form("x", "client_id", w.clientID, "client_secret", secret).Encode())
		r.Header.Del("Authorization")
		w.want(w.do(r), http.StatusUnauthorized, "invalid_client")
	}
	w.intrude(1)
	r := w.post(form("x").Encode())
	r.SetBasicAuth(w.clientID, keepSecret("one more"))
	w.wantTooMany(w.do(r), "2400")
}

func TestOverTheLimitOnlyRightCredentialsAreAnsweredAsUsual(t *testing.T) {
	w := bounded(t, "4/1h")
	root := w.root()
	_, key := w.newKey(manage.NewKey{})
	w.intrude(5)
	first := ""
	for _, path := range []string{wire.PathToken, wire.PathIntrospect, wire.PathRevoke} {
		for _, header := range []string{"Basic b3JkZXJzOnNlY3JldA==", "Basic %", "Bearer x", ""} {
			r := w.post(url.Values{wire.FieldToken: {"x"}, wire.FieldClientID: {"orders"}}.Encode())
			r.URL.Path = path
			r.Header.Set("Authorization", header)
			got := w.do(r)
			w.wantTooMany(got, "1800")
			if first == "" {
				first = got.String()
			}
			if got.String() != first {
				t.Errorf("%s %q: %v, want %s", path, header, got, first)
			}
		}
	}
	for _, path := range []string{wire.PathKeys, wire.PathVerify, wire.PathClients, wire.PathAudit} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if path == wire.PathVerify {
			r = httptest.NewRequest(http.MethodPost, path, strings.NewReader(`{"key":"x"}`))
			r.Header.Set("Content-Type", wire.MediaJSON)
		}
		r.SetBasicAuth("root", keepSecret("a wrong secret"))
		got := w.managed(r)
		if got.code != http.StatusTooManyRequests || got.header.Get("Retry-After") != "1800" {
			t.Errorf("%s: %v", path, got)
		}
	}
	w.want(w.exchange(form(key)), http.StatusOK, "")
	wantCode(t, root("GET", wire.PathKeys, ""), http.StatusOK)
}

func TestWhoSendsNoCredentialsIsAlwaysToldToAuthenticate(t *testing.T) {
	w := bounded(t, "2/1h")
	for range 2 {
		for range 10 {
			r := w.post(form("x").Encode())
			r.Header.Del("Authorization")
			w.want(w.do(r), http.StatusUnauthorized, "invalid_client")
			wantCode(t, w.managed(httptest.NewRequest(http.MethodGet, wire.PathKeys, nil)), http.StatusUnauthorized)
		}
		w.intrude(3)
	}
}

func TestOverTheLimitAVerificationIsAProblem(t *testing.T) {
	w := bounded(t, "3/1h")
	ask := w.managerOf(manage.NewClient{ID: "gate", Rights: []client.Right{client.KeysVerify, client.KeysPeek, client.ReasonsRead}})
	_, good := w.newKey(manage.NewKey{})
	verify := func(key string) reply {
		t.Helper()
		return ask("POST", wire.PathVerify, `{"key":"`+key+`"}`)
	}
	for i := range 3 {
		wantCode(t, verify(fmt.Sprintf("ck_bad_%d", i)), http.StatusOK)
		wantCode(t, verify(fmt.Sprintf("ck_bad_%d", i)), http.StatusOK)
	}
	first := verify("ck_bad_one_more")
	for reason, key := range badKeysOf(w, "elsewhere") {
		if got := verify(key); got.code != http.StatusTooManyRequests || got.header.Get("Retry-After") != "2400" || got.String() != first.String() {
			t.Errorf("%s: %v", reason, got)
		}
	}
	wantCode(t, ask("POST", wire.PathVerify, `{"key":"ck_bad","cost":0}`), http.StatusTooManyRequests)
	if got := must[wire.Verified](t, verify(good), http.StatusOK); !got.Valid {
		t.Errorf("%+v", got)
	}
}

func TestWaitingAsLongAsWasToldIsEnough(t *testing.T) {
	w := bounded(t, "7/1m")
	for range 3 {
		got := w.guess(8)
		w.want(got, http.StatusTooManyRequests, "temporarily_unavailable")
		seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
		if err != nil {
			t.Fatal(err)
		}
		w.later(time.Duration(seconds) * time.Second)
		w.want(w.guess(1), http.StatusBadRequest, "invalid_request")
		w.later(time.Minute)
	}
}

func TestOverTheLimitRefusalsAreCountedAndNotLoggedOneByOne(t *testing.T) {
	w := bounded(t, "5/1h")
	id, revoked := w.newKey(manage.NewKey{})
	if _, err := w.manage.RevokeKey(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.guess(6)
	w.intrude(6)
	before := w.logs.String()
	w.guess(50)
	w.intrude(50)
	for range 3 {
		w.wantTooMany(w.exchange(form(revoked)), "2160")
	}
	if more := strings.TrimPrefix(w.logs.String(), before); more != "" {
		t.Errorf("logged:\n%s", more)
	}
	if crossed := strings.Count(before, "too many attempts failed"); crossed != 2 {
		t.Errorf("%d lines for two subjects", crossed)
	}
	w.later(time.Hour)
	w.guess(1)
	w.intrude(1)
	for _, line := range []string{
		`"msg":"attempts are told apart again","from":"192.0.2.1","refused":54,"client":"orders-backend_1"`,
		`"msg":"attempts are told apart again","from":"192.0.2.1","refused":51}`,
	} {
		if !strings.Contains(w.logs.String(), line) {
			t.Errorf("no line with %s", line)
		}
	}
	w.wantCounted(id, 3, 57)
}

// wantCounted holds what usage and audit have of a revoked key, and of w's client.
func (w *world) wantCounted(id verifier.KeyID, refused, intruded int64) {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	stop()
	w.refusals.Run(ctx)
	w.counts.Run(ctx)
	root := w.root()
	page := must[map[string][]wire.Refusal](w.t, root("GET", wire.PathRefusals+"?from=2026-03-10T00:00:00Z&to=2026-03-11T00:00:00Z", ""), 200)
	var attempts int64
	for _, r := range page["refusals"] {
		attempts += r.Attempts
	}
	if attempts != intruded {
		w.t.Errorf("audit has %d refused authentications, want %d", attempts, intruded)
	}
	counts, err := w.store.Usage(w.t.Context(), usage.Query{Key: id})
	if err != nil {
		w.t.Fatal(err)
	}
	var n int64
	for _, c := range counts {
		n += c.Requests
	}
	if n != refused {
		w.t.Errorf("usage has %d refusals of the key, want %d", n, refused)
	}
}
