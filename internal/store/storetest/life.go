package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

var lifePromises = []promise{
	{"a store opened again finds everything", func(t *testing.T, db *database) {
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "other", Prefix: "ot"}))
		must(t, AddClient(t.Context(), db, client.Client{ID: "orders", Secrets: secrets("s")}))
		putSigningKeys(t, db, issuer.SealedKey{KID: "kid", Algorithm: "EdDSA", PublicKey: []byte{1}, Sealed: []byte{2}})
		secret, _ := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Keyspace = "other" })
		must(t, exchange(t.Context(), db, secret))
		before := contents(t, db)
		must(t, db.Close())
		same(t, contents(t, db.again()), before)
	}},
	{"two stores on one database share one truth", func(t *testing.T, db *database) {
		other := db.again()
		must(t, AddKeyspace(t.Context(), other, verifier.Keyspace{Name: "other", Prefix: "ot"}))
		secret, key := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Keyspace = "other" })
		for i, s := range []store.Store{db, other, db, other, db} {
			must(t, exchange(t.Context(), s, secret))
			if a, b := remaining(t, db, key.ID), remaining(t, other, key.ID); a != b || a != int64(4-i) {
				t.Errorf("%d and %d uses left, want %d", a, b, 4-i)
			}
		}
		if err := exchange(t.Context(), other, secret); !spent(err) {
			t.Errorf("sixth use of five: %v", err)
		}
	}},
	{"closing one store leaves the others open", func(t *testing.T, db *database) {
		secret, _ := db.key(nil)
		other := db.again()
		must(t, db.Close())
		must(t, exchange(t.Context(), other, secret))
	}},
	{"an open store answers a ping; a closed one, or one without time, does not", func(t *testing.T, db *database) {
		must(t, db.Ping(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if db.Ping(ctx) == nil {
			t.Error("answered a context that had ended")
		}
		must(t, db.Close())
		must(t, db.Close())
		if db.Ping(t.Context()) == nil {
			t.Error("answered after Close")
		}
	}},
	{"a closed store charges nothing and says that it did not", func(t *testing.T, db *database) {
		secret, key := db.key(nil)
		other := db.again()
		must(t, db.Close())
		wantErr(t, exchange(t.Context(), db, secret), verifier.ErrUnavailable)
		if left := remaining(t, other, key.ID); left != 5 {
			t.Errorf("%d uses left, want 5", left)
		}
	}},
	{"no method does anything for a context that has ended", func(t *testing.T, db *database) {
		_, key := db.key(nil)
		before := contents(t, db)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for name, err := range endedCalls(ctx, db, key) {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		same(t, contents(t, db), before)
	}},
}

// endedCalls calls every method with ctx.
func endedCalls(ctx context.Context, s store.Store, key verifier.Key) map[string]error {
	errs := map[string]error{
		"AddKey":      AddKey(ctx, s, verifier.Key{ID: "k", Keyspace: "default", State: verifier.Active}, verifier.Budget{ID: "b"}),
		"AddKeyspace": AddKeyspace(ctx, s, verifier.Keyspace{Name: "late"}),
		"AddClient":   AddClient(ctx, s, client.Client{ID: "late"}),
	}
	_, _, errs["Key"] = s.Key(ctx, key.ID)
	_, _, errs["KeyByDigest"] = s.KeyByDigest(ctx, key.Digest)
	_, _, errs["FindKey"] = s.FindKey(ctx, key.ID)
	_, _, errs["FindDigest"] = s.FindDigest(ctx, key.Digest)
	_, errs["Audit"] = s.Audit(ctx, audit.Query{Limit: 1})
	_, errs["AuditHead"] = s.AuditHead(ctx)
	errs["AddRefusals"] = s.AddRefusals(ctx, []audit.Refusal{{Attempts: 1}})
	_, errs["Refusals"] = s.Refusals(ctx, time.Time{}, noon, 1)
	_, errs["ForgetRepeats"] = s.ForgetRepeats(ctx, 1)
	_, _, errs["Keys"] = s.Keys(ctx, manage.KeyFilter{Limit: 1})
	errs["ChangeKey"] = ChangeKey(ctx, s, key.ID, func(_ time.Time, k *verifier.Key) error {
		k.State = verifier.Revoked
		return nil
	})
	_, errs["VoidKeys"] = VoidKeys(ctx, s, []verifier.KeyID{key.ID})
	_, errs["VoidKeyspaces"] = VoidKeyspaces(ctx, s, "")
	_, _, errs["StatusChanges"] = s.StatusChanges(ctx, 0, func(issuer.StatusChange) error { return nil })
	_, errs["Keyspace"] = s.Keyspace(ctx, "default")
	_, errs["Keyspaces"] = s.Keyspaces(ctx)
	_, errs["Client"] = s.Client(ctx, "orders")
	_, errs["Clients"] = s.Clients(ctx)
	_, _, errs["SigningKeys"] = s.SigningKeys(ctx)
	errs["ChangeSigningKeys"] = s.ChangeSigningKeys(ctx, func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error) {
		return []issuer.SealedKey{{KID: "late", Algorithm: "EdDSA", PublicKey: []byte{1}, Sealed: []byte{2}}}, nil
	})
	return errs
}

// everything is all that a store can be asked for.
type everything struct {
	Keys        []manage.KeyRecord
	Keyspaces   []manage.KeyspaceRecord
	Clients     []client.Client
	SigningKeys []issuer.SealedKey
	Audit       []audit.Row
	AuditHead   audit.Head
}

func contents(t *testing.T, s store.Store) (all everything) {
	t.Helper()
	var errs [6]error
	all.Keys, _, errs[0] = s.Keys(t.Context(), manage.KeyFilter{Limit: 1000})
	all.Keyspaces, errs[1] = s.Keyspaces(t.Context())
	all.Clients, errs[2] = s.Clients(t.Context())
	all.SigningKeys, _, errs[3] = s.SigningKeys(t.Context())
	all.Audit, errs[4] = s.Audit(t.Context(), audit.Query{Limit: 1000})
	all.AuditHead, errs[5] = s.AuditHead(t.Context())
	for _, err := range errs {
		must(t, err)
	}
	return all
}
