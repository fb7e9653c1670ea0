package postgres_test

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/restore"
	"github.com/cambio-auth/cambio/internal/store/postgres"
	"github.com/cambio-auth/cambio/issuer"
)

func wantRestored(t *testing.T, s *postgres.Store, want bool) restore.Lineage {
	t.Helper()
	l, err := s.Lineage(t.Context())
	must(t, err)
	if (l.Why != "") != want {
		t.Errorf("restored: %q, want %t", l.Why, want)
	}
	return l
}

func confirmed(t *testing.T, s *postgres.Store) {
	t.Helper()
	_, err := s.BeginAnew(t.Context(), restore.Beginning{
		Entry:  audit.Entry{Action: "store.restored"},
		Change: func(_ time.Time, keys []issuer.SealedKey) ([]issuer.SealedKey, error) { return keys, nil },
	})
	must(t, err)
}

// copyOf is the URL of a copy of a database that nobody uses, as CREATE DATABASE
// makes it.
func copyOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	must(t, err)
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	server := u.String()
	u.Path = "/" + name + "_" + strings.ToLower(rand.Text()[:8])
	must(t, exec(t.Context(), server, `CREATE DATABASE "`+u.Path[1:]+`" TEMPLATE "`+name+`"`))
	t.Cleanup(func() {
		if err := exec(context.Background(), server, `DROP DATABASE "`+u.Path[1:]+`" WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	return u.String()
}

func settled(t *testing.T) string {
	t.Helper()
	url := database(t)
	s := openWith(t, url, postgres.Options{})
	must(t, s.Settle(t.Context()))
	wantRestored(t, s, false)
	must(t, s.Close())
	return url
}

func TestDataInAnotherDatabaseCountsAsRestoredUntilItIsConfirmed(t *testing.T) {
	url := settled(t)
	s := open(t, copyOf(t, url))
	wantRestored(t, s, true)
	must(t, s.Settle(t.Context())) // which does not make it at home
	wantRestored(t, s, true)
	confirmed(t, s)
	wantRestored(t, s, false)
	wantRestored(t, open(t, url), false)
}

// What pg_restore --clean does to every table.
func TestDataInATableThatWasMadeAnewCountsAsRestored(t *testing.T) {
	url := settled(t)
	must(t, exec(t.Context(), url, `ALTER TABLE lineage RENAME TO dumped`, `CREATE TABLE lineage (LIKE dumped INCLUDING ALL)`,
		`INSERT INTO lineage SELECT * FROM dumped`, `DROP TABLE dumped`))
	s := open(t, url)
	wantRestored(t, s, true)
	confirmed(t, s)
	wantRestored(t, s, false)
}

func TestDataThatWasNeverServedCountsAsRestoredNowhere(t *testing.T) {
	wantRestored(t, open(t, copyOf(t, database(t))), false)
}

func TestHomesAreComparedByWhatIsKnownOfBoth(t *testing.T) {
	for name, test := range map[string]struct {
		home, here string
		want       bool
	}{
		"the same":                         {"7/16384/16400", "7/16384/16400", true},
		"another cluster":                  {"7/16384/16400", "8/16384/16400", false},
		"another database":                 {"7/16384/16400", "7/16385/16400", false},
		"another table":                    {"7/16384/16400", "7/16384/16401", false},
		"a cluster that is no longer told": {"7/16384/16400", "/16384/16400", true},
		"a cluster that was not told":      {"/16384/16400", "7/16384/16400", true},
		"not told, and another database":   {"/16384/16400", "7/1/16400", false},
		"nowhere yet":                      {"", "7/16384/16400", true},
		"damaged":                          {"7/16384/16400/1", "7/16384/16400", false},
	} {
		if got := postgres.SameHome(test.home, test.here); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
