package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/store/storetest"
	"github.com/cambio-auth/cambio/verifier"
)

func TestAKeyThatCannotBeUsedIsNeitherLockedNorCharged(t *testing.T) {
	url := database(t)
	s := open(t, url)
	key := verifier.Key{ID: "key_off", Digest: verifier.NewSecret("off").Digest(), Keyspace: "default", State: verifier.Revoked}
	must(t, storetest.AddKey(t.Context(), s, key, verifier.Budget{ID: "bud_off", Counted: true, Remaining: 5}))
	conn := connect(t, url)
	if _, err := conn.Exec(t.Context(), `BEGIN; SELECT 1 FROM budgets WHERE id = 'bud_off' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // reached only by who waits for the lock
	defer cancel()
	asked := 0
	must(t, update(ctx, s, []verifier.Digest{key.Digest}, func(_ time.Time, found []*verifier.Record) {
		if asked++; found[0] == nil || found[0].Key.State != verifier.Revoked || found[0].Budget.Remaining != 5 {
			t.Errorf("found %+v", found[0])
		}
	}))
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	err := update(ctx, s, []verifier.Digest{key.Digest}, func(_ time.Time, found []*verifier.Record) { found[0].Budget.Remaining-- })
	if err == nil {
		t.Error("it was charged")
	}
	if _, err := conn.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
}
