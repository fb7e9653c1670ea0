package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

var keyspacePromises = []promise{
	{"what cannot be the name of a keyspace is none", func(t *testing.T, db *database) {
		_, err := manage.New(db).CreateKey(t.Context(), manage.NewKey{Keyspace: "\x00"})
		wantErr(t, err, manage.ErrNotFound)
		_, err = manage.New(db).CreateClient(t.Context(), manage.NewClient{ID: "orders", Keyspaces: []string{"\x00"}})
		wantErr(t, err, manage.ErrInvalid)
	}},
	{"the keyspace default is always there, with the prefix ck", func(t *testing.T, db *database) {
		ks, err := db.Keyspace(t.Context(), "default")
		must(t, err)
		if ks.CreatedAt.IsZero() {
			t.Error("it was never created")
		}
		same(t, ks.Keyspace, verifier.Keyspace{Name: "default", Prefix: "ck", CreatedAt: ks.CreatedAt})
	}},
	{"a keyspace comes back as it was stored, in every field, alone and listed by name", func(t *testing.T, db *database) {
		full := verifier.Keyspace{
			Name: "Secret.2-x_", Prefix: "sk_live", KeyLifetime: 1<<63 - 1, TokenLifetime: 299999999999,
			PublishMetadata: true, ImportedKeys: true, WeakKeys: true, CreatedAt: noon,
		}
		zero := verifier.Keyspace{Name: "zero"}
		must(t, AddKeyspace(t.Context(), db, zero))
		must(t, AddKeyspace(t.Context(), db, full))
		got, err := db.again().Keyspace(t.Context(), full.Name)
		must(t, err)
		same(t, got, manage.KeyspaceRecord{Keyspace: full, Version: 1})
		all, err := db.Keyspaces(t.Context())
		must(t, err)
		if len(all) != 3 {
			t.Fatalf("%d keyspaces, want 3", len(all))
		}
		same(t, all, []manage.KeyspaceRecord{{Keyspace: full, Version: 1}, all[1], {Keyspace: zero, Version: 1}})
		if all[1].Name != "default" {
			t.Errorf("%s is listed second, want default", all[1].Name)
		}
	}},
	{"a keyspace's settings come with the records of its keys", func(t *testing.T, db *database) {
		ks := verifier.Keyspace{Name: "other", Prefix: "ot", TokenLifetime: 7, PublishMetadata: true, CreatedAt: noon}
		must(t, AddKeyspace(t.Context(), db, ks))
		_, key := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Keyspace = "other" })
		rec, _, err := db.Key(t.Context(), key.ID)
		must(t, err)
		same(t, rec.Keyspace, ks)
	}},
	{"a taken name is ErrExists and changes nothing; names differ by case", func(t *testing.T, db *database) {
		wantErr(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "default", Prefix: "xx"}), manage.ErrExists)
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "Default", Prefix: "xx"}))
		ks, err := db.Keyspace(t.Context(), "default")
		must(t, err)
		if ks.Prefix != "ck" {
			t.Errorf("prefix became %s", ks.Prefix)
		}
	}},
	{"an unknown keyspace is ErrNotFound", func(t *testing.T, db *database) {
		_, err := db.Keyspace(t.Context(), "nowhere")
		wantErr(t, err, manage.ErrNotFound)
	}},
}

var clientPromises = []promise{
	{"an error about a client does not repeat its id, which may be anything", func(t *testing.T, db *database) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := db.Client(ctx, "a secret in its place")
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}},
	{"a client comes back as it was stored, in every field, secrets oldest first", func(t *testing.T, db *database) {
		full := client.Client{
			ID: "orders ☃", Rights: client.Rights(), Audiences: []string{"https://b.example.com", "https://a.example.com"},
			Keyspaces: []string{"z", "default"}, Permissions: verifier.Permissions{"__proto__": {"x"}, "p": {}},
			Secrets:  []client.Secret{{Digest: verifier.Digest{9}, CreatedAt: noon}, {Digest: verifier.Digest{1}}},
			Disabled: true, CreatedAt: noon,
		}
		must(t, AddClient(t.Context(), db, full))
		got, err := db.again().Client(t.Context(), full.ID)
		must(t, err)
		same(t, unversioned(t, *got), []client.Client{full})
	}},
	{"a client of zeros comes back as zeros, nil as nil, empty as empty", func(t *testing.T, db *database) {
		none := client.Client{ID: "nothing"}
		empty := client.Client{
			ID: "empty", Rights: []client.Right{}, Audiences: []string{}, Keyspaces: []string{},
			Permissions: verifier.Permissions{}, CreatedAt: noon,
		}
		must(t, AddClient(t.Context(), db, none))
		must(t, AddClient(t.Context(), db, empty))
		all, err := db.Clients(t.Context())
		must(t, err)
		same(t, unversioned(t, all...), []client.Client{empty, none})
	}},
	{"clients are listed by id, each with its own secrets", func(t *testing.T, db *database) {
		var want []client.Client
		for i := range 3 {
			c := client.Client{ID: fmt.Sprintf("client%d", i), CreatedAt: noon}
			for j := range i {
				c.Secrets = append(c.Secrets, client.Secret{Digest: verifier.Digest{byte(9 - j), byte(i)}})
			}
			want = append(want, c)
		}
		for _, i := range []int{2, 0, 1} {
			must(t, AddClient(t.Context(), db, want[i]))
		}
		got, err := db.Clients(t.Context())
		must(t, err)
		same(t, unversioned(t, got...), want)
	}},
	{"an unknown client is nil and no error", func(t *testing.T, db *database) {
		c, err := db.Client(t.Context(), "nobody")
		if c != nil || err != nil {
			t.Errorf("got %v, %v", c, err)
		}
	}},
	{"a taken client id is ErrExists, and the client keeps its secrets", func(t *testing.T, db *database) {
		first := client.Client{ID: "orders", Secrets: secrets("mine")}
		must(t, AddClient(t.Context(), db, first))
		thief := client.Client{ID: "orders", Secrets: secrets("1", "2")}
		wantErr(t, AddClient(t.Context(), db, thief), manage.ErrExists)
		got, err := db.Client(t.Context(), "orders")
		must(t, err)
		same(t, unversioned(t, *got), []client.Client{first})
	}},
	{"ImportedKeys follows the keyspaces that a client may use", func(t *testing.T, db *database) {
		for id, keyspaces := range map[string][]string{
			"all": {"*"}, "old": {"default", "old"}, "new": {"default", "Old"}, "none": nil, "later": {"later"},
		} {
			must(t, AddClient(t.Context(), db, client.Client{ID: id, Keyspaces: keyspaces}))
		}
		sameImported(t, db)
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "old", ImportedKeys: true}))
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "later"}))
		sameImported(t, db, "all", "old")
	}},
	{"WeakKeys follows the keyspaces that a client may use", func(t *testing.T, db *database) {
		for id, keyspaces := range map[string][]string{"all": {"*"}, "old": {"default", "old"}, "new": {"default", "Old"}, "none": nil} {
			must(t, AddClient(t.Context(), db, client.Client{ID: id, Keyspaces: keyspaces}))
		}
		must(t, AddKeyspace(t.Context(), db, verifier.Keyspace{Name: "old", ImportedKeys: true}))
		sameWeak(t, db)
		saveKeyspace(t, db, verifier.Keyspace{Name: "old", ImportedKeys: true, WeakKeys: true})
		sameWeak(t, db, "all", "old")
		saveKeyspace(t, db, verifier.Keyspace{Name: "old", ImportedKeys: true})
		sameWeak(t, db)
	}},
	{"an Update tells the versions of its clients, zero for one that is not there", func(t *testing.T, db *database) {
		must(t, AddClient(t.Context(), db, client.Client{ID: "orders", Keyspaces: []string{"*"}}))
		first := versions(t, db, "nobody", "orders")
		if first[0] != 0 || first[1] < 1 {
			t.Errorf("versions %v", first)
		}
		must(t, AddKeyspace(t.Context(), db.again(), verifier.Keyspace{Name: "plain"}))
		same(t, versions(t, db, "orders"), first[1:])
		must(t, AddKeyspace(t.Context(), db.again(), verifier.Keyspace{Name: "old", ImportedKeys: true}))
		c, err := db.Client(t.Context(), "orders")
		must(t, err)
		same(t, versions(t, db, "orders", "nobody"), []int64{c.Version, 0})
		if c.Version <= first[1] {
			t.Errorf("version %d after %d", c.Version, first[1])
		}
	}},
}

// secrets are those of a client.
func secrets(of ...string) (all []client.Secret) {
	for _, s := range of {
		all = append(all, client.Secret{Digest: digest(s), CreatedAt: noon})
	}
	return all
}

// unversioned are clients without their versions, which the store has given.
func unversioned(t *testing.T, clients ...client.Client) []client.Client {
	t.Helper()
	clients = slices.Clone(clients)
	for i := range clients {
		if clients[i].Version < 1 {
			t.Errorf("client %s has version %d", clients[i].ID, clients[i].Version)
		}
		clients[i].Version = 0
	}
	return clients
}

// sameImported wants exactly these clients to have ImportedKeys, listed and
// alone.
func sameImported(t *testing.T, db *database, want ...string) {
	t.Helper()
	all, err := db.Clients(t.Context())
	must(t, err)
	var listed []string
	for _, c := range all {
		alone, err := db.Client(t.Context(), c.ID)
		must(t, err)
		same(t, *alone, c)
		if c.ImportedKeys {
			listed = append(listed, c.ID)
		}
	}
	same(t, listed, want)
}

// sameWeak wants exactly these clients to have WeakKeys.
func sameWeak(t *testing.T, db *database, want ...string) {
	t.Helper()
	all, err := db.Clients(t.Context())
	must(t, err)
	var weak []string
	for _, c := range all {
		if c.WeakKeys {
			weak = append(weak, c.ID)
		}
	}
	same(t, weak, want)
}

// versions are those that an Update finds.
func versions(t *testing.T, db *database, ids ...string) []int64 {
	t.Helper()
	var versions []int64
	must(t, db.Update(t.Context(), verifier.Lookup{Clients: ids}, func(_ time.Time, found verifier.Found) {
		versions = slices.Clone(found.Clients)
	}))
	return versions
}
