package restore_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/restore"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/verifier"
)

const (
	iss    = "https://keys.example.com"
	orders = "https://orders.example.com"
	day    = 24 * time.Hour
)

// world is a server on a store, whose clock stands still until it is moved. Its
// transport answers checkers without a network.
type world struct {
	t      *testing.T
	store  *sqlite.Store
	clock  *atomic.Int64
	master issuer.MasterKey
	ring   *issuer.Keyring
	signer *issuer.Issuer
	lists  *issuer.StatusLists
}

func begin(t *testing.T) *world {
	w := &world{t: t, clock: new(atomic.Int64), master: issuer.NewMasterKey()}
	w.clock.Store(time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return w.open(filepath.Join(t.TempDir(), "cambio.db"))
}

// open is a server with the same clock and master key on another file.
func (w *world) open(path string) *world {
	w.t.Helper()
	other := *w
	var err error
	if other.store, err = sqlite.Open(w.t.Context(), path, sqlite.Options{Now: w.now, StatusListSize: 64}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = other.store.Close() })
	other.serve()
	return &other
}

// serve starts the server, again if it ran.
func (w *world) serve() {
	w.t.Helper()
	var err error
	w.ring, err = issuer.OpenKeyring(w.t.Context(), issuer.KeyringConfig{Store: w.store, MasterKey: w.master, Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.signer, err = issuer.New(issuer.Config{Issuer: iss, Keyring: w.ring}); err != nil {
		w.t.Fatal(err)
	}
	w.publish()
}

// publish has the status lists be of now: what is known of them grows old in real time.
func (w *world) publish() {
	w.t.Helper()
	var err error
	if w.lists, err = issuer.OpenStatusLists(w.t.Context(), issuer.StatusListsConfig{Issuer: w.signer, Store: w.store}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) now() time.Time { return time.Unix(0, w.clock.Load()).UTC() }

// pass lets time go by in steps, and follows the timetable at each.
func (w *world) pass(d, step time.Duration) {
	w.t.Helper()
	for end := w.now().Add(d); w.now().Before(end); {
		w.clock.Add(int64(min(step, end.Sub(w.now()))))
		if err := w.ring.Refresh(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
	w.publish()
}

func (w *world) backup() string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "backup.db")
	if _, err := w.store.Backup(w.t.Context(), path, nil); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) confirm(fresh bool) {
	w.t.Helper()
	lineage, err := w.store.Lineage(w.t.Context())
	if err != nil || lineage.Why == "" {
		w.t.Fatalf("%+v, %v", lineage, err)
	}
	how := restore.How{After: lineage.Confirmed, Actor: audit.Actor{Kind: audit.KindOperator, ID: "ann"}}
	if fresh {
		how.MasterKey = &w.master
	}
	if _, err := restore.Begin(w.t.Context(), w.store, how); err != nil {
		w.t.Fatal(err)
	}
	w.serve()
}

func (w *world) key() manage.CreatedKey {
	w.t.Helper()
	made, err := manage.New(w.store).CreateKey(w.t.Context(), manage.NewKey{})
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

// token is one that is issued now.
func (w *world) token(id verifier.KeyID) string {
	w.t.Helper()
	rec, now, err := w.store.FindKey(w.t.Context(), id)
	if err != nil || rec == nil {
		w.t.Fatalf("%v, %v", rec, err)
	}
	token, err := w.signer.Issue(issuer.Grant{
		Subject: string(id), Audience: orders, ClientID: "orders", KeyID: string(id), Keyspace: "default",
		IssuedAt: now, Status: issuer.StatusRef(rec.Status),
	})
	if err != nil {
		w.t.Fatalf("%s: %v", now, err)
	}
	return token.Value
}

// checker asks the server at, which may be replaced by another.
func checker(t *testing.T, at *atomic.Pointer[world]) *sdk.Checker {
	t.Helper()
	c, err := sdk.NewChecker(sdk.CheckerConfig{
		Issuer: iss, Audience: orders, Now: func() time.Time { return at.Load().now() },
		HTTPClient: &http.Client{Transport: transport{at}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) checker() *sdk.Checker {
	var at atomic.Pointer[world]
	at.Store(w)
	return checker(w.t, &at)
}

type transport struct{ at *atomic.Pointer[world] }

// RoundTrip implements http.RoundTripper.
func (tr transport) RoundTrip(req *http.Request) (*http.Response, error) {
	w := tr.at.Load()
	set, media, status := w.ring.JWKS(), "application/json", http.StatusOK
	if name, ok := strings.CutPrefix(req.URL.Path, "/statuslists/"); ok {
		list, err := w.lists.Token(req.Context(), name)
		if errors.Is(err, issuer.ErrNoStatusList) {
			status = http.StatusNotFound
		} else if err != nil {
			return nil, err
		}
		set, media = issuer.JWKS{Body: list.Body, ETag: list.ETag}, "application/statuslist+jwt"
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {media}, "Cache-Control": {fmt.Sprintf("max-age=%.0f", issuer.JWKSMaxAge.Seconds())}},
		Body:   io.NopCloser(strings.NewReader(string(set.Body))),
	}, nil
}

func (w *world) wantGood(c *sdk.Checker, raw string) {
	w.t.Helper()
	if _, err := c.Check(w.t.Context(), raw); err != nil {
		w.t.Errorf("%s: %v", w.now(), err)
	}
}

func (w *world) wantRefused(c *sdk.Checker, raw string) {
	w.t.Helper()
	if _, err := c.Check(w.t.Context(), raw); !errors.Is(err, sdk.ErrRefused) {
		w.t.Errorf("%s: %v, want a refusal", w.now(), err)
	}
}

func TestATokenOfATimelineThatWasLostStaysVoidAndNoNewKeyGovernsIt(t *testing.T) {
	w := begin(t)
	old := w.key()
	backup := w.backup()
	for range 5 { // of this the backup knows nothing
		if err := manage.New(w.store).VoidKeyspace(t.Context(), "default"); err != nil {
			t.Fatal(err)
		}
	}
	w.serve()
	lost, other := w.token(w.key().Key.ID), w.token(old.Key.ID)
	var at atomic.Pointer[world]
	at.Store(w)
	c := checker(t, &at)
	w.wantGood(c, lost)
	w.wantGood(c, other)

	r := w.open(backup)
	r.confirm(false) // the signatures are good, so their status decides
	at.Store(r)
	r.clock.Add(int64(5 * time.Second))
	refused := func(when string) {
		t.Helper()
		t.Log(when)
		for _, c := range []*sdk.Checker{c, r.checker()} {
			r.wantRefused(c, lost)
			r.wantRefused(c, other)
		}
	}
	refused("at once")
	var made []verifier.KeyID
	for range 100 { // more than there are entries in a list: the lost ones are among them
		made = append(made, r.key().Key.ID)
	}
	r.serve()
	refused("when its entry was handed out again")
	r.wantGood(c, r.token(made[99]))
	m := manage.New(r.store)
	for range 6 { // up to the generation of the lost timeline, counted one by one, and beyond
		if err := m.VoidKeyspace(t.Context(), "default"); err != nil {
			t.Fatal(err)
		}
		r.serve()
		refused("in a later generation")
	}
	fresh := r.token(made[0])
	r.wantGood(r.checker(), fresh)
	if _, err := m.RevokeKey(t.Context(), made[0]); err != nil {
		t.Fatal(err)
	}
	r.serve()
	r.wantRefused(r.checker(), fresh)
}

// kidOf is the header of a token, which has the kid in it.
func kidOf(raw string) string {
	header, _, _ := strings.Cut(raw, ".")
	return header
}

func TestAfterAnyBackupEveryTokenVerifiesWithTheKeySetOfItsTime(t *testing.T) {
	for name, age := range map[string]time.Duration{
		"of a minute ago": time.Minute, "of an hour ago": time.Hour,
		"of a rotation ago": issuer.DefaultPeriod, "of a year ago": 365 * day,
	} {
		for _, fresh := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, new signing keys: %t", name, fresh), func(t *testing.T) {
				w := begin(t)
				key := w.key().Key.ID
				w.pass(time.Hour, time.Hour)
				before := w.token(key)
				backup := w.backup()
				w.pass(age, 12*time.Hour)

				r := w.open(backup)
				r.confirm(fresh)
				r.wantRefused(r.checker(), before)
				if fresh && kidOf(r.token(key)) == kidOf(before) {
					t.Error("a key of the backup signs")
				}
				for range 10 { // 65 days: more than two rotations
					r.wantGood(r.checker(), r.token(key)) // one that has only this key set
					r.pass(13*day/2+time.Minute, 12*time.Hour)
				}
			})
		}
	}
}

func TestASigningKeyThatWasRevokedSinceNeitherSignsNorVerifies(t *testing.T) {
	w := begin(t)
	key := w.key().Key.ID
	backup := w.backup()
	revoked, err := issuer.Keys(t.Context(), w.store)
	if err != nil {
		t.Fatal(err)
	}
	if err := issuer.Revoke(t.Context(), w.store, revoked[0].KID); err != nil {
		t.Fatal(err)
	}
	r := w.open(backup)
	forged := r.token(key) // it is alive again, and who stole it signs what they like
	r.wantGood(r.checker(), forged)
	r.confirm(true)
	if set := string(r.ring.JWKS().Body); strings.Contains(set, revoked[0].KID) || strings.Contains(set, revoked[1].KID) {
		t.Errorf("published: %s", set)
	}
	if kidOf(forged) == kidOf(r.token(key)) {
		t.Error("it signs")
	}
	r.wantRefused(r.checker(), forged)
	r.wantGood(r.checker(), r.token(key))
}

func TestWithTheWrongMasterKeyNothingIsConfirmed(t *testing.T) {
	w := begin(t)
	r := w.open(w.backup())
	wrong := issuer.NewMasterKey()
	before, err := r.store.Lineage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = restore.Begin(t.Context(), r.store, restore.How{MasterKey: &wrong})
	if !errors.Is(err, issuer.ErrSealed) {
		t.Errorf("%v", err)
	}
	if after, err := r.store.Lineage(t.Context()); err != nil || after != before {
		t.Errorf("%+v, was %+v; %v", after, before, err)
	}
}
