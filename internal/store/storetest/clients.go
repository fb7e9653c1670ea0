package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

var keyspacePromises = []promise{
	{"the keyspace default is always there, with the prefix ck", func(t *testing.T, db *database) {
		ks, err := db.Keyspace(t.Context(), "default")
		must(t, err)
		if ks.CreatedAt.IsZero() {
			t.Error("it was never created")
		}
		same(t, ks, verifier.Keyspace{Name: "default", Prefix: "ck", CreatedAt: ks.CreatedAt})
	}},
	{"a keyspace comes back as it was stored, in every field, alone and listed by name", func(t *testing.T, db *database) {
		full := verifier.Keyspace{
			Name: "Secret.2-x_", Prefix: "sk_live", KeyLifetime: 1<<63 - 1, TokenLifetime: 299999999999,
			PublishMetadata: true, ImportedKeys: true, CreatedAt: noon,
		}
		zero := verifier.Keyspace{Name: "zero"}
		must(t, db.CreateKeyspace(t.Context(), zero))
		must(t, db.CreateKeyspace(t.Context(), full))
		got, err := db.again().Keyspace(t.Context(), full.Name)
		must(t, err)
		same(t, got, full)
		all, err := db.Keyspaces(t.Context())
		must(t, err)
		if len(all) != 3 {
			t.Fatalf("%d keyspaces, want 3", len(all))
		}
		same(t, all, []verifier.Keyspace{full, all[1], zero})
		if all[1].Name != "default" {
			t.Errorf("%s is listed second, want default", all[1].Name)
		}
	}},
	{"a keyspace's settings come with the records of its keys", func(t *testing.T, db *database) {
		ks := verifier.Keyspace{Name: "other", Prefix: "ot", TokenLifetime: 7, PublishMetadata: true, CreatedAt: noon}
		must(t, db.CreateKeyspace(t.Context(), ks))
		_, key := db.key(func(k *verifier.Key, _ *verifier.Budget) { k.Keyspace = "other" })
		rec, _, err := db.Key(t.Context(), key.ID)
		must(t, err)
		same(t, rec.Keyspace, ks)
	}},
	{"a taken name is ErrExists and changes nothing; names differ by case", func(t *testing.T, db *database) {
		wantErr(t, db.CreateKeyspace(t.Context(), verifier.Keyspace{Name: "default", Prefix: "xx"}), manage.ErrExists)
		must(t, db.CreateKeyspace(t.Context(), verifier.Keyspace{Name: "Default", Prefix: "xx"}))
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
	{"a client comes back as it was stored, in every field, secrets oldest first", func(t *testing.T, db *database) {
		full := client.Client{
			ID: "orders ☃", Rights: client.Rights(), Audiences: []string{"https://b.example.com", "https://a.example.com"},
			Keyspaces: []string{"z", "default"}, Permissions: verifier.Permissions{"__proto__": {"x"}, "p": {}},
			Secrets: []verifier.Digest{{9}, {1}}, Disabled: true, CreatedAt: noon, Version: 1,
		}
		must(t, db.CreateClient(t.Context(), full))
		got, err := db.again().Client(t.Context(), full.ID)
		must(t, err)
		same(t, got, &full)
	}},
	{"a client of zeros comes back as zeros, nil as nil, empty as empty", func(t *testing.T, db *database) {
		none := client.Client{ID: "nothing", Version: 1}
		empty := client.Client{
			ID: "empty", Rights: []client.Right{}, Audiences: []string{}, Keyspaces: []string{},
			Permissions: verifier.Permissions{}, CreatedAt: noon, Version: 1,
		}
		must(t, db.CreateClient(t.Context(), none))
		must(t, db.CreateClient(t.Context(), empty))
		all, err := db.Clients(t.Context())
		must(t, err)
		same(t, all, []client.Client{empty, none})
	}},
	{"clients are listed by id, each with its own secrets", func(t *testing.T, db *database) {
		var want []client.Client
		for i := range 3 {
			c := client.Client{ID: fmt.Sprintf("client%d", i), CreatedAt: noon, Version: 1}
			for j := range i {
				c.Secrets = append(c.Secrets, verifier.Digest{byte(9 - j), byte(i)})
			}
			want = append(want, c)
		}
		for _, i := range []int{2, 0, 1} {
			must(t, db.CreateClient(t.Context(), want[i]))
		}
		got, err := db.Clients(t.Context())
		must(t, err)
		same(t, got, want)
	}},
	{"an unknown client is nil and no error", func(t *testing.T, db *database) {
		c, err := db.Client(t.Context(), "nobody")
		if c != nil || err != nil {
			t.Errorf("got %v, %v", c, err)
		}
	}},
	{"a taken client id is ErrExists, and the client keeps its secrets", func(t *testing.T, db *database) {
		first := client.Client{ID: "orders", Secrets: []verifier.Digest{digest("mine")}, Version: 1}
		must(t, db.CreateClient(t.Context(), first))
		thief := client.Client{ID: "orders", Secrets: []verifier.Digest{digest("1"), digest("2")}}
		wantErr(t, db.CreateClient(t.Context(), thief), manage.ErrExists)
		got, err := db.Client(t.Context(), "orders")
		must(t, err)
		same(t, got, &first)
	}},
	{"ImportedKeys follows the keyspaces that a client may use", func(t *testing.T, db *database) {
		for id, keyspaces := range map[string][]string{
			"all": {"*"}, "old": {"default", "old"}, "new": {"default", "Old"}, "none": nil, "later": {"later"},
		} {
			must(t, db.CreateClient(t.Context(), client.Client{ID: id, Keyspaces: keyspaces}))
		}
		sameImported(t, db)
		must(t, db.CreateKeyspace(t.Context(), verifier.Keyspace{Name: "old", ImportedKeys: true}))
		must(t, db.CreateKeyspace(t.Context(), verifier.Keyspace{Name: "later"}))
		sameImported(t, db, "all", "old")
	}},
	{"an Update tells the versions of its clients, zero for one that is not there", func(t *testing.T, db *database) {
		must(t, db.CreateClient(t.Context(), client.Client{ID: "orders", Keyspaces: []string{"*"}}))
		same(t, versions(t, db, "nobody", "orders"), []int64{0, 1})
		must(t, db.again().CreateKeyspace(t.Context(), verifier.Keyspace{Name: "plain"}))
		same(t, versions(t, db, "orders"), []int64{1})
		must(t, db.again().CreateKeyspace(t.Context(), verifier.Keyspace{Name: "old", ImportedKeys: true}))
		same(t, versions(t, db, "orders", "nobody"), []int64{2, 0})
		c, err := db.Client(t.Context(), "orders")
		must(t, err)
		same(t, c.Version, 2)
	}},
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

// versions are those that an Update finds.
func versions(t *testing.T, db *database, ids ...string) []int64 {
	t.Helper()
	var versions []int64
	must(t, db.Update(t.Context(), verifier.Lookup{Clients: ids}, func(_ time.Time, found verifier.Found) {
		versions = slices.Clone(found.Clients)
	}))
	return versions
}
