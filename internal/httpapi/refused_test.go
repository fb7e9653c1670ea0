package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// badKeys makes one key for everything that can be wrong with a key, by the
// reason that a client with the right may know.
func (w *world) badKeys() map[string]string {
	w.t.Helper()
	w.newKeyspace("other")
	keys := map[string]string{}
	_, keys[wire.ReasonUnknown] = newWorld(w.t).newKey(manage.NewKey{})
	keys[wire.ReasonMalformed] = keepSecret("ck_not-a-key-at-all")
	_, keys[wire.ReasonWrongKeyspace] = w.newKey(manage.NewKey{Keyspace: "other"})
	_, keys[wire.ReasonExpired] = w.newKey(manage.NewKey{ExpiresIn: time.Second})
	w.setClock(noon.Add(time.Second))
	id, key := w.newKey(manage.NewKey{})
	if _, err := w.manage.RevokeKey(w.t.Context(), id); err != nil {
		w.t.Fatal(err)
	}
	keys[wire.ReasonRevoked] = key
	id, key = w.newKey(manage.NewKey{})
	if _, err := w.manage.DisableKey(w.t.Context(), id); err != nil {
		w.t.Fatal(err)
	}
	keys[wire.ReasonDisabled] = key
	return keys
}

func TestEveryBadKeyHasOneAnswer(t *testing.T) {
	w := newWorld(t)
	keys := w.badKeys()
	keys["a JWT"] = "eyJhbGciOiJub25lIn0.e30.x"
	var first string
	for reason, key := range keys {
		for _, f := range [][]string{nil, {"audience", "https://evil.example.com"}, {"scope", "malformed"}, {"scope", "x:y"}, {"audience", ""}} {
			got := w.exchange(form(key, f...))
			w.want(got, http.StatusBadRequest, "invalid_request")
			if first == "" {
				first = got.String()
			}
			if got.String() != first {
				t.Errorf("%s %v:\n%v, want\n%s", reason, f, got, first)
			}
		}
	}
}

func TestReasonsAreToldByRight(t *testing.T) {
	w := newWorld(t)
	w.secret = w.newClient(manage.NewClient{ID: "support", Audiences: []string{orders}, Rights: withReasons})
	w.clientID = "support"
	for reason, key := range w.badKeys() {
		got := w.exchange(form(key))
		w.want(got, http.StatusBadRequest, "invalid_request")
		if got.err.Reason != reason {
			t.Errorf("reason %q, want %q", got.err.Reason, reason)
		}
	}
}

func TestTheReasonIsLoggedEvenIfNotTold(t *testing.T) {
	w := newWorld(t)
	for reason, key := range w.badKeys() {
		if got := w.exchange(form(key)); got.err.Reason != "" {
			t.Errorf("told: %v", got)
		}
		if line := w.lastLine(); line["msg"] != "refused" || line["reason"] != reason || line["client"] != w.clientID {
			t.Errorf("%s: %v", reason, line)
		}
	}
}

func TestARefusalIsFree(t *testing.T) {
	w := newWorld(t)
	id, key := w.newKey(manage.NewKey{Permissions: projects, Remaining: uses(2), Audiences: []string{orders}})
	for _, change := range [][]string{
		{"audience", billing}, {"scope", "projects:admin"}, {"scope", "malformed"}, {"keyspace", "other"},
		{"cost", "3"}, {"cost", "0"}, {"grant_type", "x"}, {"requested_token_type", "x"}, {"actor_token", "x"},
	} {
		if got := w.exchange(form(key, change...)); got.code == http.StatusOK {
			t.Errorf("%v: granted", change)
		}
	}
	if left := w.remaining(id); left != 2 {
		t.Errorf("remaining %d, want 2", left)
	}
	w.want(w.exchange(form(key, "cost", "2")), http.StatusOK, "")
}

func TestLimitsSayWhenToRetry(t *testing.T) {
	tests := map[string]struct {
		key    manage.NewKey
		later  time.Duration
		cost   string
		reason string
		header string
		millis int64
	}{
		"spent, with a refill due": {
			key:   manage.NewKey{Refill: verifier.Refill{Amount: 1, Interval: verifier.Every(time.Minute)}},
			later: 59500 * time.Millisecond, reason: "spent", header: "1", millis: 500,
		},
		"spent, with a refill in an hour and a bit": {
			key:    manage.NewKey{Refill: verifier.Refill{Amount: 1, Interval: verifier.Every(time.Hour + time.Nanosecond)}},
			reason: "spent", header: "3601", millis: 3600001,
		},
		"spent for good":          {key: manage.NewKey{Remaining: uses(1)}, reason: "spent"},
		"costing more than comes": {key: manage.NewKey{Refill: verifier.Refill{Amount: 1, Interval: verifier.Daily}}, cost: "2", reason: "spent"},
		"rate limited": {
			key:   manage.NewKey{Rate: verifier.Rate{Limit: 1, Window: 10 * time.Second, Burst: 1}},
			later: 1250 * time.Millisecond, reason: "rate_limited", header: "9", millis: 8750,
		},
		"rate limited for less than a millisecond": {
			key:   manage.NewKey{Rate: verifier.Rate{Limit: 1, Window: time.Second, Burst: 1}},
			later: time.Second - time.Nanosecond, reason: "rate_limited", header: "1", millis: 1,
		},
		"costing more than the burst": {
			key: manage.NewKey{Rate: verifier.Rate{Limit: 10, Window: time.Second, Burst: 2}}, cost: "3", reason: "rate_limited",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, key := w.newKey(test.key)
			w.want(w.exchange(form(key)), http.StatusOK, "")
			w.setClock(noon.Add(test.later))
			got := w.exchange(form(key, "cost", test.cost))
			w.want(got, http.StatusTooManyRequests, "invalid_request")
			if got.err.Reason != test.reason || got.header.Get("Retry-After") != test.header || got.err.RetryAfterMS != test.millis {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestWhenWeCannotTell(t *testing.T) {
	tests := map[string]struct {
		err    error
		code   int
		oauth  string
		reason string
		retry  string
	}{
		"the store is away: nothing was charged, try again":   {errors.New("no route"), 503, "temporarily_unavailable", "unavailable", "1"},
		"the commit broke: who tries again may pay twice":     {fmt.Errorf("%w: reset", verifier.ErrOutcomeUnknown), 503, "temporarily_unavailable", "outcome_unknown", ""},
		"the store took too long":                             {context.DeadlineExceeded, 503, "temporarily_unavailable", "unavailable", "1"},
		"an unknown outcome counts, whatever else went wrong": {errors.Join(verifier.ErrUnavailable, context.Canceled, verifier.ErrOutcomeUnknown), 503, "temporarily_unavailable", "outcome_unknown", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, failing(test.err))
			_, key := w.newKey(manage.NewKey{})
			got := w.exchange(form(key))
			w.want(got, test.code, test.oauth)
			if got.err.Reason != test.reason || got.header.Get("Retry-After") != test.retry {
				t.Errorf("%v", got)
			}
			if line := w.lastLine(); line["level"] != "ERROR" || line["reason"] != test.reason || line["err"] == nil {
				t.Errorf("%v", line)
			}
		})
	}
	t.Run("the store is away while the client is looked up: that is no invalid_client", func(t *testing.T) {
		w := newWorld(t)
		_, key := w.newKey(manage.NewKey{})
		_ = w.store.Close()
		got := w.exchange(form(key))
		w.want(got, 503, "temporarily_unavailable")
		if got.err.Reason != "unavailable" || got.header.Get("Retry-After") != "1" {
			t.Errorf("%v", got)
		}
	})
	t.Run("the caller has gone: that is no fault of ours", func(t *testing.T) {
		w := newWorld(t)
		_, key := w.newKey(manage.NewKey{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w.want(w.do(w.post(form(key).Encode()).WithContext(ctx)), 503, "temporarily_unavailable")
		if line := w.lastLine(); line["level"] != "INFO" || line["reason"] != "unavailable" {
			t.Errorf("%v", line)
		}
	})
	t.Run("there is no signing key: found out before the charge", func(t *testing.T) {
		var v *verifier.Verifier
		w := newWorld(t)
		v, err := verifier.New(verifier.Config{Store: w.store})
		if err != nil {
			t.Fatal(err)
		}
		iss, err := issuer.New(issuer.Config{Issuer: issuerURL, Keyring: &issuer.Keyring{}})
		if err != nil {
			t.Fatal(err)
		}
		id, key := w.newKey(manage.NewKey{Remaining: uses(5)})
		w.rebuild(w.newExchange(v, iss))
		got := w.exchange(form(key))
		w.want(got, 503, "temporarily_unavailable")
		if got.err.Reason != "unavailable" || w.remaining(id) != 5 {
			t.Errorf("%v, remaining %d", got, w.remaining(id))
		}
	})
}

func TestAPanicIsAPlain500(t *testing.T) {
	secret := keepSecret("what was panicked with")
	w := newWorld(t, options{config: func(cfg *setup) {
		cfg.JWKS = func() issuer.JWKS { panic(errors.New(secret)) }
	}})
	w.want(w.get(wire.PathJWKS), http.StatusInternalServerError, "server_error")
	if line := w.lastLine(); line["msg"] != "panicked" || line["stack"] == "" || line["panic"] != "*errors.errorString" {
		t.Errorf("%v", line)
	}
}

func TestAStoreThatPanicsIsAway(t *testing.T) {
	secret := keepSecret("what a store panicked with")
	w := newWorld(t, options{store: func(verifier.Store) verifier.Store {
		return storeFunc(func(context.Context, verifier.Lookup, func(time.Time, verifier.Found)) error {
			panic(errors.New(secret))
		})
	}})
	_, key := w.newKey(manage.NewKey{})
	for range 2 {
		w.want(w.exchange(form(key)), http.StatusServiceUnavailable, "temporarily_unavailable")
	}
}
