package issuer_test

import (
	"context"
	"crypto/fips140"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/verifier"
)

const day = 24 * time.Hour

// row is a key of a timetable, in hours after noon; removed 0 means never.
type row struct{ activates, removed float64 }

func hours(h float64) time.Time { return noon.Add(time.Duration(h * float64(time.Hour))) }

func keysOf(rows []row) []issuer.SealedKey {
	keys := make([]issuer.SealedKey, len(rows))
	for i, r := range rows {
		keys[i] = issuer.SealedKey{KID: fmt.Sprint(i), Algorithm: issuer.EdDSA, Generation: int64(i), ActivatesAt: hours(r.activates)}
		if r.removed != 0 {
			keys[i].RemovedAt = hours(r.removed)
		}
	}
	return keys
}

func TestTheStateOfAKeyFollowsFromTimestampsAlone(t *testing.T) {
	third := 1.0 / 3 // of an hour: Linger
	for name, test := range map[string]struct {
		rows []row
		at   float64
		want string
	}{
		"a key is pending until it activates":                        {[]row{{0, 0}, {10, 0}}, 9.999, "active pending"},
		"at that instant it signs, and the one before retires":       {[]row{{0, 0}, {10, 0}}, 10, "retiring active"},
		"a retiring key stays as long as its tokens may live":        {[]row{{0, 0}, {10, 0}}, 10 + third - 0.0001, "retiring active"},
		"and is removed then":                                        {[]row{{0, 0}, {10, 0}}, 10 + third, "removed active"},
		"a key that is removed early is removed at once":             {[]row{{0, 5}, {5, 0}}, 5, "removed active"},
		"what was removed before it signed ends nobody's time":       {[]row{{0, 0}, {10, 5}, {20, 0}}, 15, "active removed pending"},
		"what signed and was removed still ended the time before it": {[]row{{0, 0}, {10, 12}, {12, 0}}, 12, "removed removed active"},
		"nothing signs if all were removed":                          {[]row{{0, 5}}, 5, "removed"},
		"three generations":                                          {[]row{{0, 0}, {10, 0}, {20, 0}}, 10.1, "retiring active pending"},
	} {
		t.Run(name, func(t *testing.T) {
			keys := keysOf(test.rows)
			var got []string
			for i := range keys {
				state, _ := issuer.StateOf(keys, i, hours(test.at))
				got = append(got, string(state))
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("%v, want %s", got, test.want)
			}
		})
	}
}

// virtually runs test in virtual time.
func virtually(t *testing.T, test func(*testing.T)) {
	t.Helper()
	if fips140.Enabled() {
		t.Skip("the entropy source of FIPS mode measures time, which stands still in there")
	}
	synctest.Test(t, test)
}

// replicas are keyrings on one store, each as if in a process of its own.
type replicas struct {
	t     *testing.T
	store *sqlite.Store
	cfg   issuer.KeyringConfig
	rings []*issuer.Keyring
	lists []*issuer.StatusLists // of each ring
	ref   issuer.StatusRef      // of a key in the store
	stop  context.CancelFunc
	run   sync.WaitGroup
}

// startReplicas runs n keyrings in the bubble that t is in.
func startReplicas(t *testing.T, n int, cfg issuer.KeyringConfig) *replicas {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "cambio.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store, cfg.MasterKey = store, issuer.NewMasterKey()
	ctx, stop := context.WithCancel(t.Context())
	r := &replicas{t: t, store: store, cfg: cfg, stop: stop}
	key := manage.KeyRecord{Record: verifier.Record{
		Key:    verifier.Key{ID: "key_1", Keyspace: "default", State: verifier.Active},
		Budget: &verifier.Budget{ID: "b"},
	}}
	if err := store.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error { return tx.AddKeys(ctx, []manage.KeyRecord{key}) }); err != nil {
		t.Fatal(err)
	}
	rec, _, err := store.Key(t.Context(), "key_1")
	if err != nil {
		t.Fatal(err)
	}
	r.ref = issuer.StatusRef(rec.Status)
	for range n {
		ring, err := issuer.OpenKeyring(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		r.rings = append(r.rings, ring)
		lists, err := issuer.OpenStatusLists(t.Context(), issuer.StatusListsConfig{Issuer: newIssuer(t, ring), Store: store})
		if err != nil {
			t.Fatal(err)
		}
		r.lists = append(r.lists, lists)
		r.run.Go(func() { ring.Run(ctx) })
	}
	return r
}

func (r *replicas) close() {
	r.stop()
	r.run.Wait()
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *replicas) issue(ring int, algorithm string) string {
	r.t.Helper()
	iss, err := issuer.New(issuer.Config{Issuer: "https://keys.example.com", Keyring: r.rings[ring]})
	if err != nil {
		r.t.Fatal(err)
	}
	g := grant()
	g.IssuedAt, g.Algorithm, g.Status = time.Now(), algorithm, r.ref
	token, err := iss.Issue(g)
	if err != nil {
		r.t.Fatal(err)
	}
	return token.Value
}

// keySet serves the key set and the status lists of one replica or another, by a transport without a
// network, so that virtual time reaches through it.
type keySet struct {
	r    *replicas
	next int
	mu   sync.Mutex
}

func (s *keySet) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.next++
	replica := s.next % len(s.r.rings)
	s.mu.Unlock()
	set, media := s.r.rings[replica].JWKS(), "application/json"
	if name, ok := strings.CutPrefix(req.URL.Path, "/statuslists/"); ok {
		list, err := s.r.lists[replica].Token(req.Context(), name)
		if err != nil {
			return nil, err
		}
		set, media = issuer.JWKS{Body: list.Body, ETag: list.ETag}, "application/statuslist+jwt"
	}
	resp := &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req, Header: http.Header{}}
	resp.Header.Set("ETag", set.ETag)
	resp.Header.Set("Content-Type", media)
	resp.Header.Set("Cache-Control", fmt.Sprintf("public, max-age=%.0f", issuer.JWKSMaxAge.Seconds()))
	if req.Header.Get("If-None-Match") == set.ETag {
		resp.StatusCode = http.StatusNotModified
		set.Body = nil
	}
	resp.Body = io.NopCloser(strings.NewReader(string(set.Body)))
	return resp, nil
}

func (r *replicas) checker() *sdk.Checker {
	r.t.Helper()
	checker, err := sdk.NewChecker(sdk.CheckerConfig{
		Issuer: "https://keys.example.com", Audience: grant().Audience, HTTPClient: &http.Client{Transport: &keySet{r: r}},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return checker
}

// lazy is a checker of another make: it keeps the key set for 10 minutes, and asks
// for no kid that it does not know.
type lazy struct {
	set   jose.JSONWebKeySet
	until time.Time
}

func (l *lazy) check(ring *issuer.Keyring, raw string) error {
	if !time.Now().Before(l.until) {
		l.set, l.until = jose.JSONWebKeySet{}, time.Now().Add(10*time.Minute)
		if err := json.Unmarshal(ring.JWKS().Body, &l.set); err != nil {
			return err
		}
	}
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256})
	if err != nil {
		return err
	}
	keys := l.set.Key(jws.Signatures[0].Protected.KeyID)
	if len(keys) != 1 {
		return errors.New("unknown kid " + jws.Signatures[0].Protected.KeyID)
	}
	_, err = jws.Verify(keys[0])
	return err
}

func TestInAYearOfRotationsNoGoodTokenIsRefused(t *testing.T) {
	virtually(t, func(t *testing.T) {
		const check = 4 * time.Minute                             // of the 5 that a token lives
		refresh, pause := 2*time.Hour, 6*time.Hour+59*time.Minute // meets every phase of a period
		if os.Getenv("CAMBIO_SLOW") != "" {
			refresh, pause = 10*time.Minute, 26*time.Minute
		}
		r := startReplicas(t, 3, issuer.KeyringConfig{
			Algorithms: []string{issuer.EdDSA, issuer.ES256}, Period: 10 * day, Refresh: refresh,
		})
		defer r.close()
		checkers, others := []*sdk.Checker{r.checker(), r.checker()}, []lazy{{}, {}}
		kids := map[string]bool{}
		began := time.Now()
		for step := 0; time.Since(began) < 365*day; step++ {
			var fresh []string
			for i, algorithm := range []string{"", issuer.ES256} {
				raw := r.issue((step+i)%3, algorithm)
				kids[strings.SplitN(raw, ".", 2)[0]] = true
				fresh = append(fresh, raw)
			}
			time.Sleep(check)
			for _, raw := range fresh {
				if _, err := checkers[step%2].Check(t.Context(), raw); err != nil {
					t.Fatalf("%s, step %d: our sdk: %v", time.Now().UTC(), step, err)
				}
				if err := others[step%2].check(r.rings[(step+1)%3], raw); err != nil {
					t.Fatalf("%s, step %d: another checker: %v", time.Now().UTC(), step, err)
				}
			}
			time.Sleep(pause)
		}
		if n := len(kids); n < 2*36 || n > 2*37 {
			t.Errorf("%d keys signed in a year of two algorithms with a period of ten days", n)
		}
		keys, _, err := r.store.SigningKeys(t.Context())
		if err != nil || len(keys) > 20 {
			t.Errorf("%d keys are left in the store, %v", len(keys), err)
		}
	})
}

func TestReplicasThatRotateAtOnceMakeOneKey(t *testing.T) {
	virtually(t, func(t *testing.T) {
		r := startReplicas(t, 5, issuer.KeyringConfig{Period: day, Refresh: 10 * time.Minute})
		defer r.close()
		time.Sleep(10*day + 20*time.Minute)
		synctest.Wait()
		keys, err := issuer.Keys(t.Context(), r.store)
		if err != nil || len(keys) != 12 { // one for each day that has begun, and one that waits
			t.Fatalf("%d keys after ten days, %v", len(keys), err)
		}
		for i, k := range keys[:11] {
			if want := keys[0].ActivatesAt.Add(time.Duration(i) * day); !k.ActivatesAt.Equal(want) {
				t.Errorf("key %d signs from %s, want %s", i, k.ActivatesAt, want)
			}
		}
		for _, ring := range r.rings {
			if string(ring.JWKS().Body) != string(r.rings[0].JWKS().Body) {
				t.Error("replicas publish different keys")
			}
		}
	})
}

func TestAKeyIsPublishedBeforeItSignsAndAfterwardsUntilItsTokensAreDead(t *testing.T) {
	virtually(t, func(t *testing.T) {
		r := startReplicas(t, 1, issuer.KeyringConfig{Period: time.Hour, Refresh: time.Minute})
		defer r.close()
		first := strings.SplitN(r.issue(0, ""), ".", 2)[0]
		published := func() string { return string(r.rings[0].JWKS().Body) }
		atStart := published()
		time.Sleep(time.Hour + 2*time.Minute)
		second := r.issue(0, "")
		if strings.HasPrefix(second, first) {
			t.Fatal("the key was not changed")
		}
		var l lazy
		l.until = time.Now().Add(time.Hour)
		if err := json.Unmarshal([]byte(atStart), &l.set); err != nil {
			t.Fatal(err)
		}
		if err := l.check(nil, second); err != nil {
			t.Fatalf("who holds the key set of an hour ago cannot check: %v", err)
		}
		if err := json.Unmarshal([]byte(published()), &l.set); err != nil || len(l.set.Keys) != 3 {
			t.Fatalf("%d keys published, want one retiring, one active, one pending", len(l.set.Keys))
		}
		time.Sleep(issuer.Linger + time.Minute)
		if err := json.Unmarshal([]byte(published()), &l.set); err != nil || len(l.set.Keys) != 2 {
			t.Fatalf("%d keys published, want one active, one pending", len(l.set.Keys))
		}
	})
}

func TestAnAlgorithmEnabledLaterSignsOnceEveryCacheHoldsItsKey(t *testing.T) {
	virtually(t, func(t *testing.T) {
		r := startReplicas(t, 1, issuer.KeyringConfig{})
		defer r.close()
		time.Sleep(2 * time.Minute)
		cfg := r.cfg
		cfg.Algorithms = []string{issuer.EdDSA, issuer.RS256}
		ring, err := issuer.OpenKeyring(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		iss, err := issuer.New(issuer.Config{Issuer: "https://keys.example.com", Keyring: ring})
		if err != nil {
			t.Fatal(err)
		}
		keys, err := issuer.Keys(t.Context(), r.store)
		if err != nil || len(keys) != 3 || keys[2].State != issuer.Pending || keys[2].ActivatesAt.Before(time.Now().Add(issuer.Lead-time.Second)) {
			t.Fatalf("%+v, %v", keys, err)
		}
		if err := iss.Ready(""); err != nil {
			t.Error(err)
		}
		if err := iss.Ready(issuer.RS256); !errors.Is(err, issuer.ErrNoSigningKey) {
			t.Errorf("before caches hold its key: %v", err)
		}
		time.Sleep(issuer.Lead)
		if err := iss.Ready(issuer.RS256); err != nil {
			t.Errorf("once they do: %v", err)
		}
		if err := iss.Ready(issuer.ES256); !errors.Is(err, issuer.ErrNoSigningKey) {
			t.Errorf("an algorithm that is not enabled: %v", err)
		}
	})
}

func TestWhileTheStoreIsAwayTheKnownKeysGoOn(t *testing.T) {
	virtually(t, func(t *testing.T) {
		r := startReplicas(t, 1, issuer.KeyringConfig{Period: time.Hour, Refresh: time.Minute})
		before := r.issue(0, "")
		if err := r.store.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Minute)
		after := r.issue(0, "") // by the key that waited, as the timetable has it
		if strings.SplitN(before, ".", 2)[0] == strings.SplitN(after, ".", 2)[0] {
			t.Error("the key was not changed")
		}
		r.close()
	})
}
