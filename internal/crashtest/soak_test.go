package crashtest

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/sdk"
)

// soakIssuer is the issuer of all replicas, whose addresses change.
const soakIssuer = "http://127.0.0.1:1"

// soakFor is how long the soak lasts: CAMBIO_SOAK, such as 10m, and long enough that
// everything happens once. It is nothing for every edit.
func soakFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("CAMBIO_SOAK")
	if text == "" {
		t.Skip("CAMBIO_SOAK says how long; make soak")
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("CAMBIO_SOAK: %v", err)
	}
	return d
}

// soak is three replicas on one database with a synchronous standby. The first is
// never killed, so it is the one that could grow.
type soak struct {
	*installation
	database *pgtest.Server // that takes writes
	standby  *pgtest.Server // nil: it has taken over
	replicas [3]atomic.Pointer[server]
	callers  [3]account // who calls which replica
	insister account    // who calls the second and the third, again and again
	spender  *key       // with few uses
	checker  *sdk.Checker
	epoch    atomic.Int64 // of tokens: an emergency begins another
	client   *http.Client
	answered [3]tally // by replica
}

func TestUnderLoadFaultsAndHostilityAllAddsUpAndNothingGrows(t *testing.T) {
	end := time.Now().Add(soakFor(t))
	s := newSoak(t)
	rest := s.load()
	s.more(2_000)
	rest()
	before := s.atRest()

	rest = s.load()
	peace := s.hostility()
	for round := 0; round == 0 || time.Now().Before(end); round++ {
		for _, fault := range s.faults() {
			t.Logf("round %d: %s", round+1, fault.name)
			fault.happen()
			s.more(50) // life goes on
		}
	}
	peace()
	rest()
	s.addsUp()
	s.agree()
	s.atRest().grownFrom(t, before)
	s.noSecretIsLogged()
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	primary := pgtest.Start(t, pgtest.Options{Synchronous: true})
	standby := primary.Standby(t)
	s := &soak{
		installation: install(t, primary.URL("postgres", standby), plenty, plenty, plenty, plenty, plenty, plenty, plenty, 500),
		database:     primary, standby: standby,
	}
	s.spender = s.keys[len(s.keys)-1]
	s.env = append(s.env, "CAMBIO_ISSUER="+soakIssuer)
	transport := &http.Transport{MaxIdleConnsPerHost: callers}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = &http.Client{Transport: transport, Timeout: patience}
	for i := range s.callers {
		s.read(&s.callers[i], "client", "create", fmt.Sprintf("caller-%d", i), "--audience", audience,
			"--right", "tokens:exchange,keys:verify,tokens:introspect")
		s.replicas[i].Store(s.serve())
	}
	s.read(&s.insister, "client", "create", "insister", "--audience", audience)
	var err error
	s.checker, err = sdk.NewChecker(sdk.CheckerConfig{
		Issuer: soakIssuer, Audience: audience,
		JWKSURL: s.replicas[0].Load().public + wire.PathJWKS, StatusListURL: s.replicas[0].Load().public + wire.PathStatusLists,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// more waits for n more charges to be acknowledged.
func (s *soak) more(n int64) {
	s.t.Helper()
	acknowledged := func() (sum int64) {
		for i := range s.answered {
			sum += s.answered[i].acknowledged.Load()
		}
		return sum
	}
	want := acknowledged() + n
	until(s.t, "charges are acknowledged", func() bool { return acknowledged() >= want })
}

type fault struct {
	name   string
	happen func()
}

// faults are what happens in a round, in this order. The database fails over once.
func (s *soak) faults() []fault {
	all := []fault{
		{"a replica is killed", func() { s.replicas[1].Load().kill(); s.restart(1) }},
		{"a key is revoked", s.revokeOne},
		{"a replica is asked to end", func() { s.stop(2); s.restart(2) }},
		{"a key is rotated", s.rotateOne},
		{"the database is killed", func() { s.database.Kill(); s.database.Restart(s.t); s.allReady() }},
		{"the signing keys leak", s.emergency},
		{"two replicas are killed", func() {
			s.replicas[1].Load().kill()
			s.replicas[2].Load().kill()
			s.restart(1)
			s.restart(2)
		}},
		{"the database hangs", func() { s.database.Pause(); time.Sleep(time.Second); s.database.Resume(); s.allReady() }},
	}
	if s.standby != nil {
		all = append(all, fault{"the database fails over", s.failover})
	}
	return all
}

func (s *soak) restart(i int) { s.replicas[i].Store(s.serve()) }

func (s *soak) stop(i int) {
	s.t.Helper()
	if err := s.replicas[i].Load().stop(); err != nil {
		s.t.Errorf("a replica ended with %v", err)
	}
}

func (s *soak) allReady() {
	s.t.Helper()
	for i := range s.replicas {
		until(s.t, "a replica is ready again", func() bool { return s.replicas[i].Load().ready() == http.StatusOK })
	}
}

func (s *soak) failover() {
	s.t.Helper()
	s.database.PauseSenders()
	s.database.Kill()
	s.standby.Promote(s.t)
	s.database, s.standby = s.standby, nil
	s.allReady()
}

// revokeOne revokes a key: what is asked afterwards is refused, on every replica, and
// so is the token that it was exchanged for.
func (s *soak) revokeOne() {
	s.t.Helper()
	var k key
	s.read(&k, "key", "create", "--owner", "user_42")
	token := ask(s.client, exchangeOf(k.Secret, s.replicas[0].Load().public, s.callers[0])).said().AccessToken
	if _, err := s.checker.Check(s.t.Context(), token); err != nil {
		s.t.Errorf("a token is refused before its key is revoked: %v", err)
	}
	s.run("key", "revoke", k.ID)
	for i := range s.replicas {
		a := ask(s.client, exchangeOf(k.Secret, s.replicas[i].Load().public, s.callers[i]))
		if a.charge() != refused {
			s.t.Errorf("replica %d answers %d for a revoked key, %v", i, a.status, a.err)
		}
	}
	until(s.t, "the token of a revoked key is refused", func() bool { return s.isRefused(token) })
}

// rotateOne exchanges a key of ten uses and its successor to their end: ten in all.
func (s *soak) rotateOne() {
	s.t.Helper()
	var k, next key
	s.read(&k, "key", "create", "--remaining", "10")
	s.read(&next, "key", "rotate", k.ID, "--overlap", "1h")
	var grants atomic.Int64
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			secret := []string{k.Secret, next.Secret}[i%2]
			if ask(s.client, exchangeOf(secret, s.replicas[i%3].Load().public, s.callers[i%3])).charge() == granted {
				grants.Add(1)
			}
		})
	}
	all.Wait()
	if n := grants.Load(); n != 10 {
		s.t.Errorf("a rotated key of 10 uses was granted %d", n)
	}
}

// emergency removes the key that signs. Tokens of before it are dead.
func (s *soak) emergency() {
	s.t.Helper()
	var list struct {
		Keys []struct{ KID, State string } `json:"signing_keys"`
	}
	s.read(&list, "signing-key", "list")
	s.epoch.Add(1)
	s.run("signing-key", "rotate", "--emergency")
	for _, k := range list.Keys {
		if k.State != "active" {
			continue
		}
		for i := range s.replicas {
			until(s.t, "a removed key leaves the key set", func() bool {
				a := s.get(s.replicas[i].Load().public + wire.PathJWKS)
				return a.status == http.StatusOK && !strings.Contains(string(a.body), k.KID)
			})
		}
	}
	s.epoch.Add(1)
}

func (s *soak) get(url string) answer {
	return ask(s.client, request(http.MethodGet, url, account{}, "", ""))
}

func (s *soak) isRefused(token string) bool {
	_, err := s.checker.Check(s.t.Context(), token)
	return errors.Is(err, sdk.ErrRefused)
}
