package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

var keyspaceChangePromises = []promise{
	{"a saved keyspace has all that was changed, and its version counts up", func(t *testing.T, db *database) {
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "other", Prefix: "ot", CreatedAt: noon}))
		_, key := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Keyspace = "other" })
		full := verifier.Keyspace{Name: "other", Prefix: "sk_live", KeyLifetime: 1<<63 - 1, TokenLifetime: 7, PublishMetadata: true, ImportedKeys: true, WeakKeys: true}
		saveKeyspace(t, db, full)
		full.CreatedAt = noon
		got, err := db.again().Keyspace(t.Context(), "other")
		must(t, err)
		if got.ChangedAt.IsZero() {
			t.Error("it was never changed")
		}
		same(t, got, manage.KeyspaceRecord{Keyspace: full, Version: 2, ChangedAt: got.ChangedAt})
		same(t, mustKey(t, db, key.ID).Keyspace, full)
		saveKeyspace(t, db, verifier.Keyspace{Name: "other"})
		got, err = db.Keyspace(t.Context(), "other")
		must(t, err)
		same(t, got, manage.KeyspaceRecord{Keyspace: verifier.Keyspace{Name: "other", CreatedAt: noon}, Version: 3, ChangedAt: got.ChangedAt})
		ks, err := db.Keyspace(t.Context(), "default")
		must(t, err)
		same(t, ks.Version, 1)
	}},
	{"a keyspace that holds imported keys, or no more, changes every client's version", func(t *testing.T, db *database) {
		must(t, AddClient(t.Context(), db, client.Client{ID: "all", Keyspaces: []string{"*"}}))
		must(t, AddClient(t.Context(), db, client.Client{ID: "none"}))
		ks := verifier.Keyspace{Name: "default", Prefix: "ck"}
		was := versions(t, db, "all", "none")
		for _, step := range []struct{ imported, grows bool }{{false, false}, {true, true}, {true, false}, {false, true}} {
			ks.ImportedKeys = step.imported
			ks.TokenLifetime++
			saveKeyspace(t, db, ks)
			is := versions(t, db, "all", "none")
			for i := range is {
				if (is[i] > was[i]) != step.grows || is[i] < was[i] {
					t.Errorf("imported %t: version %d after %d", step.imported, is[i], was[i])
				}
			}
			if step.imported {
				sameImported(t, db, "all")
			} else {
				sameImported(t, db)
			}
			was = is
		}
	}},
	{"a keyspace with a key is in use, even if that is a tombstone; one without is deleted", func(t *testing.T, db *database) {
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "other", Prefix: "ot", CreatedAt: noon}))
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "empty", Prefix: "em"}))
		_, key := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Keyspace = "other" })
		wantErr(t, deleteKeyspace(t, db, "other"), manage.ErrInUse)
		rec := mustKey(t, db, key.ID)
		rec.Key.State, rec.DeletedAt = verifier.Revoked, noon
		saveKey(t, db, rec)
		wantErr(t, deleteKeyspace(t, db, "other"), manage.ErrInUse)
		must(t, deleteKeyspace(t, db, "empty"))
		_, err := db.Keyspace(t.Context(), "empty")
		wantErr(t, err, manage.ErrNotFound)
		_, err = db.Keyspace(t.Context(), "other")
		must(t, err)
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "empty", Prefix: "em"}))
	}},
	{"a keyspace that is not there cannot be locked", func(t *testing.T, db *database) {
		wantErr(t, db.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
			_, err := tx.LockKeyspace(ctx, "Default")
			return err
		}), manage.ErrNotFound)
	}},
}

// saveKeyspace stores ks over the keyspace of its name.
func saveKeyspace(t *testing.T, s manage.Changer, ks verifier.Keyspace) {
	t.Helper()
	mustChange(t, s, func(ctx context.Context, tx manage.Tx) error {
		_, err := tx.LockKeyspace(ctx, ks.Name)
		return errors.Join(err, tx.SaveKeyspace(ctx, ks))
	})
}

func deleteKeyspace(t *testing.T, s manage.Changer, name string) error {
	t.Helper()
	return s.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
		if _, err := tx.LockKeyspace(ctx, name); err != nil {
			return err
		}
		return tx.DeleteKeyspace(ctx, name)
	})
}

var clientChangePromises = []promise{
	{"a saved client has all that was changed, secrets and keys included, and its version counts up", func(t *testing.T, db *database) {
		first := client.Client{
			ID: "orders", Audiences: []string{"a"}, Keyspaces: []string{"default"}, Secrets: secrets("1", "2"), CreatedAt: noon,
		}
		must(t, AddClient(t.Context(), db, first))
		must(t, AddClient(t.Context(), db, client.Client{ID: "other", Secrets: secrets("1", "2")}))
		for i, changed := range []client.Client{
			{Rights: client.Rights(), Audiences: []string{"b", "a"}, Permissions: verifier.Permissions{"p": {}}, Algorithm: "ES256", Disabled: true, Secrets: secrets("2", "3"), Registered: registered()},
			{Registered: client.Registered{SANURI: "spiffe://example.com/orders"}},
			{Secrets: secrets("4")},
			{},
		} {
			changed.ID, changed.Version = "orders", 77
			before := versions(t, db, "orders")[0]
			saveClient(t, db, changed)
			got, err := db.again().Client(t.Context(), "orders")
			must(t, err)
			if got.Version != before+1 || got.ChangedAt.IsZero() || got.Version != versions(t, db, "orders")[0] {
				t.Errorf("save %d: version %d after %d, changed at %v", i, got.Version, before, got.ChangedAt)
			}
			changed.CreatedAt, changed.ChangedAt, changed.Version = noon, got.ChangedAt, got.Version
			same(t, *got, changed)
		}
		other, err := db.Client(t.Context(), "other")
		must(t, err)
		same(t, other.Secrets, secrets("1", "2"))
	}},
	{"a locked client is the whole client, and one that is not there is ErrNotFound", func(t *testing.T, db *database) {
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "old", ImportedKeys: true}))
		must(t, AddClient(t.Context(), db, client.Client{ID: "orders", Keyspaces: []string{"old"}, Secrets: secrets("1", "2")}))
		want, err := db.Client(t.Context(), "orders")
		must(t, err)
		mustChange(t, db, func(ctx context.Context, tx manage.Tx) error {
			read, err := tx.Client(ctx, "orders")
			must(t, err)
			same(t, read, want)
			nobody, err := tx.Client(ctx, "nobody")
			must(t, err)
			same(t, nobody, nil)
			locked, err := tx.LockClient(ctx, "orders")
			must(t, err)
			same(t, &locked, want)
			return nil
		})
		wantErr(t, db.Change(t.Context(), func(ctx context.Context, tx manage.Tx) error {
			_, err := tx.LockClient(ctx, "Orders")
			return err
		}), manage.ErrNotFound)
	}},
	{"a client keeps its keys, certificates and names, alone and listed, without a secret too", func(t *testing.T, db *database) {
		orders := client.Client{ID: "orders", CreatedAt: noon, Registered: registered()}
		must(t, AddClient(t.Context(), db, orders))
		must(t, AddClient(t.Context(), db, client.Client{ID: "zero", CreatedAt: noon, Registered: registered(), Secrets: secrets("1", "2")}))
		all, err := db.again().Clients(t.Context())
		must(t, err)
		same(t, unversioned(t, all...), []client.Client{orders, {ID: "zero", CreatedAt: noon, Registered: registered(), Secrets: secrets("1", "2")}})
		one, err := db.Client(t.Context(), "orders")
		must(t, err)
		same(t, *one, all[0])
		deleteClient(t, db, "orders")
		must(t, AddClient(t.Context(), db, client.Client{ID: "orders", CreatedAt: noon}))
		one, err = db.Client(t.Context(), "orders")
		must(t, err)
		same(t, one.Registered, client.Registered{})
	}},
	{"a deleted client is gone, and what was counted of it stays", func(t *testing.T, db *database) {
		secret, _ := db.key(nil)
		must(t, exchangeAs(t.Context(), db, "orders", secret, 1))
		must(t, AddClient(t.Context(), db, client.Client{ID: "orders", Secrets: secrets("s")}))
		deleteClient(t, db, "orders")
		c, err := db.Client(t.Context(), "orders")
		if c != nil || err != nil {
			t.Errorf("got %v, %v", c, err)
		}
		same(t, versions(t, db, "orders"), []int64{0})
		if n := len(totals(t, db, usage.Query{Client: "orders"})); n != 1 {
			t.Errorf("%d counts, want 1", n)
		}
	}},
	{"a client that is deleted and made again has versions it never had, and none of its secrets", func(t *testing.T, db *database) {
		had := map[int64]bool{}
		for i := range 20 {
			if i == 10 {
				db.shift(-time.Hour)
			}
			must(t, AddClient(t.Context(), db, client.Client{ID: "orders", Secrets: secrets("s")[:1-i%2]}))
			for range 3 {
				c, err := db.Client(t.Context(), "orders")
				must(t, err)
				if had[c.Version] || len(c.Secrets) != 1-i%2 {
					t.Fatalf("version %d again, or one of %d secrets", c.Version, len(c.Secrets))
				}
				had[c.Version] = true
				saveClient(t, db, *c)
			}
			deleteClient(t, db, "orders")
		}
	}},
}

// registered is one of everything that a client may register.
func registered() client.Registered {
	var r client.Registered
	for _, jwk := range []string{
		`{"kty":"OKP","crv":"Ed25519","kid":"it's \"ä\" 1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,                           // RFC 8037 app. A
		`{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`, // RFC 7517 app. A
	} {
		key, err := client.ParseKey([]byte(jwk))
		if err != nil {
			panic(err) // of a constant
		}
		r.Keys = append(r.Keys, key)
	}
	r.Certificates = []client.Thumbprint{{1, 2, 3}, {255}}
	r.SANDNS = "orders.example.com"
	return r
}

// saveClient stores c over the client of its id.
func saveClient(t *testing.T, s manage.Changer, c client.Client) {
	t.Helper()
	mustChange(t, s, func(ctx context.Context, tx manage.Tx) error {
		_, err := tx.LockClient(ctx, c.ID)
		return errors.Join(err, tx.SaveClient(ctx, c))
	})
}

func deleteClient(t *testing.T, s manage.Changer, id string) {
	t.Helper()
	mustChange(t, s, func(ctx context.Context, tx manage.Tx) error {
		_, err := tx.LockClient(ctx, id)
		return errors.Join(err, tx.DeleteClient(ctx, id))
	})
}
