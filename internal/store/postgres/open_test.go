package postgres_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/internal/store/postgres"
	"github.com/cambio-auth/cambio/internal/store/storetest"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

func TestServersThatStartAtOnceMigrateAnEmptyDatabaseOnce(t *testing.T) {
	url := pgtest.Database(t, "", nil)
	var starting sync.WaitGroup
	for range 6 {
		starting.Go(func() {
			s, err := postgres.Open(t.Context(), url, postgres.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			s.Close()
		})
	}
	starting.Wait()
	conn := connect(t, url)
	if n := ask[int64](t, conn, `SELECT count(*) FROM cambio_schema_version WHERE version_id = 1`); n != 1 {
		t.Errorf("migrated %d times", n)
	}
	if n := ask[int64](t, conn, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'`); n != 0 {
		t.Errorf("%d locks are left", n)
	}
}

func TestASchemaThatIsNewerIsRefusedAndLeftAlone(t *testing.T) {
	url := database(t)
	conn := connect(t, url)
	run(t, conn, `INSERT INTO cambio_schema_version (version_id, is_applied) VALUES (99, true)`)
	run(t, conn, `UPDATE cambio_schema_oldest SET version = 99`)
	wantOpenError(t, url, "version 99, which takes binaries that know 99 or later, and this binary knows none above ")
	run(t, conn, `DROP TABLE cambio_schema_oldest`)
	wantOpenError(t, url, "version 99 and this binary knows none above ")
	if n := ask[int64](t, conn, `SELECT max(version_id) FROM cambio_schema_version`); n != 99 {
		t.Errorf("the version became %d", n)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{TCP: true})
	url := server.URL("postgres")
	admin := connect(t, url)
	wantOpenError(t, strings.Replace(url, "/postgres?", "/nowhere?", 1), "the database does not exist; create it")
	wantOpenError(t, strings.Replace(url, "user=postgres", "user=nobody", 1), "user or password are wrong")
	wantOpenError(t, strings.Replace(url, "password=", "password=hunter2", 1), "user or password are wrong")
	wantOpenError(t, url+"&no_such_setting=1", "no_such_setting")
	wantOpenError(t, url+"&target_session_attrs=read-only", "the server cannot be reached")
	run(t, admin, `CREATE ROLE guest LOGIN PASSWORD 'hunter2'`, `REVOKE CREATE ON SCHEMA public FROM public`)
	guest := strings.Replace(url, "user=postgres", "user=guest", 1)
	guest = guest[:strings.Index(guest, "password=")] + "password=hunter2&" + guest[strings.Index(guest, "port="):]
	wantOpenError(t, guest, "the user may not do that")
	run(t, admin, `CREATE TABLE keys (other int)`)
	wantOpenError(t, url, `relation "keys" already exists`)
	server.Stop()
	wantOpenError(t, url, "the server cannot be reached")
}

func wantOpenError(t *testing.T, url, want string) {
	t.Helper()
	s, err := postgres.Open(t.Context(), url, postgres.Options{})
	if err == nil {
		s.Close()
		t.Errorf("opened, want an error with %q", want)
		return
	}
	if text := err.Error(); !strings.HasPrefix(text, "CAMBIO_STORE: ") || !strings.Contains(text, want) ||
		strings.Contains(text, "hunter2") || strings.Contains(text, url) {
		t.Errorf("error is %v, want one with %q and no password", err, want)
	}
}

func TestEveryConnectionIsDurableAndPlansOnce(t *testing.T) {
	url := database(t)
	s := open(t, url)
	for setting, want := range map[string]string{
		"application_name": "cambio", "jit": "off", "plan_cache_mode": "force_generic_plan",
		"synchronous_commit": "on", "idle_in_transaction_session_timeout": "10s",
	} {
		if got, err := s.Setting(t.Context(), setting); got != want || err != nil {
			t.Errorf("%s is %s, want %s; %v", setting, got, want, err)
		}
	}
	said := open(t, url+"&application_name=mine&synchronous_commit=local&pool_max_conns=3")
	for setting, want := range map[string]string{"application_name": "mine", "synchronous_commit": "local", "jit": "off"} {
		if got, err := said.Setting(t.Context(), setting); got != want || err != nil {
			t.Errorf("%s is %s, want %s as the URL says; %v", setting, got, want, err)
		}
	}
	plain := open(t, url+"&default_query_exec_mode=exec")
	if got, err := plain.Setting(t.Context(), "application_name"); got != "" || err != nil {
		t.Errorf("application_name is %s, want none behind a pooler; %v", got, err)
	}
	if a, b, c := s.MaxConnections(), said.MaxConnections(), plain.MaxConnections(); a != 8 || b != 3 || c != 8 {
		t.Errorf("%d, %d and %d connections at most, want 8, 3 and 8", a, b, c)
	}
}

func TestBehindAPoolerNothingIsPrepared(t *testing.T) {
	url := database(t)
	for mode, want := range map[string]bool{"exec": false, "simple_protocol": false, "cache_statement": true} {
		s := open(t, url+"&pool_max_conns=1&default_query_exec_mode="+mode)
		must(t, update(t.Context(), s, nil, take(1)))
		prepared, err := s.Prepared(t.Context())
		if prepared > 0 != want || err != nil {
			t.Errorf("%s: %d statements are prepared; %v", mode, prepared, err)
		}
	}
}

// Every statement once, with values that are hard to quote.
func TestInTheSimpleProtocolEverythingComesBack(t *testing.T) {
	s := open(t, database(t)+"&default_query_exec_mode=simple_protocol")
	at := time.Unix(0, math.MinInt64).UTC()
	key := verifier.Key{
		ID: "key_'\\", Digest: verifier.Digest{0, '\'', 255}, Start: "$1 -- ", Keyspace: "old", Owner: `"'\`,
		Permissions: verifier.Permissions{`{"`: {`,"\'`, ""}}, Audiences: []string{`{a,"b\'}`, "", "NULL"},
		Metadata: json.RawMessage("{ \"'\": \"\\u0000\" }"), State: verifier.Active, CreatedAt: at,
	}
	budget := verifier.Budget{ID: "b'", Counted: true, Remaining: 5, TAT: at, Refill: verifier.Refill{Amount: 1, Interval: verifier.Daily}}
	c := client.Client{ID: "o'", Rights: client.Rights(), Audiences: []string{}, Keyspaces: []string{"old"}, Secrets: []client.Secret{{Digest: verifier.Digest{1}}, {CreatedAt: at}}}
	must(t, storetest.AddClient(t.Context(), s, c))
	must(t, storetest.AddKeyspace(t.Context(), s, verifier.Keyspace{Name: "old", Prefix: "'", ImportedKeys: true}))
	must(t, storetest.AddKey(t.Context(), s, key, budget))
	must(t, update(t.Context(), s, []verifier.Digest{key.Digest}, take(2)))
	must(t, s.AddUsage(t.Context(), []usage.Count{{Key: key.ID, Client: "o'", Outcome: "spent", Requests: 1}}))
	must(t, s.RollUp(t.Context()))
	must(t, s.ChangeSigningKeys(t.Context(), func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error) {
		return []issuer.SealedKey{{KID: "k", Algorithm: "EdDSA", PublicKey: []byte{0}, Sealed: []byte("'"), CreatedAt: at}}, nil
	}))

	clients, err := s.Clients(t.Context())
	must(t, err)
	c.ImportedKeys, c.Version = true, clients[0].Version
	keys, _, err := s.Keys(t.Context(), manage.KeyFilter{Keyspaces: []string{"old"}, Owner: key.Owner, Limit: 9})
	must(t, err)
	signing, _, err := s.SigningKeys(t.Context())
	must(t, err)
	points, err := s.Usage(t.Context(), usage.Query{Owner: key.Owner})
	must(t, err)
	if len(clients) != 1 || !reflect.DeepEqual(clients[0], c) {
		t.Errorf("clients are %+v, want %+v", clients, c)
	}
	if budget.Remaining = 3; len(keys) != 1 || !reflect.DeepEqual(keys[0].Key, key) || *keys[0].Budget != budget {
		t.Errorf("keys are %+v, want %+v", keys, key)
	}
	if len(signing) != 1 || string(signing[0].Sealed) != "'" || len(points) != 2 {
		t.Errorf("signing keys %+v, usage %+v", signing, points)
	}
	n, err := s.Forget(t.Context(), time.Now().Add(24*time.Hour), 9)
	if n != 2 || err != nil {
		t.Errorf("%d forgotten, want 2; %v", n, err)
	}
}
