package httpapi_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

func TestWhatIsOutsideOfTheKeyspacesOfAClientDoesNotExistForIt(t *testing.T) {
	for _, op := range managementOperations() {
		if !strings.Contains(op.path, "{") || strings.Contains(op.path, "{kid}") {
			continue // lists are narrowed, and signing keys belong to no keyspace
		}
		t.Run(op.id, func(t *testing.T) {
			w := newWorld(t)
			mine, theirs := w.things("mine"), w.things("theirs")
			c := w.managerOf(manage.NewClient{ID: "bound", Rights: client.Rights(), Keyspaces: []string{"mine"}, Audiences: []string{"*"}})
			before := w.seen(theirs)
			got := c(op.method, theirs.in(op.path), op.body)
			wantCode(t, got, http.StatusNotFound)
			nobody := strings.NewReplacer(theirs.key, "key_0", theirs.keyspace, "nowhere").Replace(theirs.in(op.path))
			if there := c(op.method, nobody, op.body); there.String() != got.String() {
				t.Errorf("%v, and of what is not there\n%v", got, there)
			}
			if after := w.seen(theirs); after != before {
				t.Errorf("something was done:\n%s\n%s", before, after)
			}
			if in := c(op.method, mine.in(op.path), op.body); in.code == http.StatusNotFound {
				t.Errorf("in its own: %v", in)
			}
		})
	}
}

// seen is all that there is of things.
func (w *world) seen(th things) string {
	w.t.Helper()
	key, err := w.manage.Key(w.t.Context(), verifier.KeyID(th.key))
	keyspace, keyspaceErr := w.manage.Keyspace(w.t.Context(), th.keyspace)
	c, clientErr := w.manage.Client(w.t.Context(), th.client)
	text, jsonErr := json.Marshal([]any{key.Wire(), key.Status, keyspace.Wire(), manage.ClientWire(c)})
	if err := errors.Join(err, keyspaceErr, clientErr, jsonErr); err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

func TestListsAreNarrowedToTheKeyspacesOfAClient(t *testing.T) {
	w := newWorld(t)
	mine, theirs := w.things("mine"), w.things("theirs")
	root := w.root()
	for _, th := range []things{mine, theirs} {
		wantCode(t, root("POST", wire.PathKeys+"/"+th.key+"/void", ""), 200)
	}
	c := w.managerOf(manage.NewClient{ID: "bound", Rights: client.Rights(), Keyspaces: []string{"mine"}, Audiences: []string{"*"}})
	for _, path := range []string{
		wire.PathKeys, wire.PathKeys + "?keyspace=mine&keyspace=theirs", wire.PathKeyspaces, wire.PathClients, wire.PathAudit, wire.PathAudit + "?keyspace=mine&keyspace=theirs",
	} {
		got := c("GET", path, "")
		if wantCode(t, got, 200); !strings.Contains(got.body, "mine") || strings.Contains(got.body, "theirs") || strings.Contains(got.body, theirs.key) {
			t.Errorf("%s: %v", path, got)
		}
	}
	for _, path := range []string{
		wire.PathKeys + "?keyspace=theirs", wire.PathKeys + "?owner=owner+of+theirs", wire.PathAudit + "?target=" + theirs.key,
		wire.PathUsage + "?keyspace=theirs", wire.PathUsage + "?key=" + theirs.key, wire.PathRefusals,
	} {
		got := c("GET", path, "")
		if wantCode(t, got, 200); !strings.Contains(got.body, "[]") || strings.Contains(got.body, "theirs") {
			t.Errorf("%s: %v", path, got)
		}
	}
	if v := must[wire.Voided](t, c("POST", wire.PathVoid, `{"owner":"owner of theirs"}`), 200); *v.Keys != 0 {
		t.Errorf("%d keys are void", *v.Keys)
	}
}

func TestAClientNeverGivesMoreThanItHolds(t *testing.T) {
	w := newWorld(t)
	w.newKeyspace("mine")
	w.newKeyspace("theirs")
	held := verifier.Permissions{"projects": {"read"}}
	c := w.managerOf(manage.NewClient{
		ID: "bound", Keyspaces: []string{"mine"}, Audiences: []string{orders}, Permissions: held,
		Rights: []client.Right{client.KeysWrite, client.ClientsWrite, client.KeyspacesWrite, client.TokensExchange},
	})
	small, _ := w.newKey(manage.NewKey{Keyspace: "mine", Permissions: held})
	big, _ := w.newKey(manage.NewKey{Keyspace: "mine", Permissions: verifier.Permissions{"projects": {"read", "write"}}})
	worst, _ := w.newKey(manage.NewKey{Keyspace: "mine", Permissions: verifier.Permissions{"projects": {"delete"}}})
	w.newClient(manage.NewClient{ID: "less", Keyspaces: []string{"mine"}, Permissions: held, Audiences: []string{orders}})
	w.newClient(manage.NewClient{ID: "more", Keyspaces: []string{"mine"}, Permissions: held, Rights: []client.Right{client.AuditRead}})
	w.newClient(manage.NewClient{ID: "unbound", Keyspaces: []string{"mine"}})

	client := func(members string) string {
		return `{"client_id":"new","keyspaces":["mine"],"permissions":{"projects":["read"]}` + members + `}`
	}
	for name, test := range map[string]struct {
		method, path, body string
		code               int
	}{
		"a key of what it holds":                  {"POST", wire.PathKeys, `{"keyspace":"mine","permissions":{"projects":["read"]},"audiences":["` + orders + `"]}`, 201},
		"a key with more permissions":             {"POST", wire.PathKeys, `{"keyspace":"mine","permissions":{"projects":["write"]}}`, 403},
		"a key for another audience":              {"POST", wire.PathKeys, `{"keyspace":"mine","audiences":["` + billing + `"]}`, 403},
		"a key of another keyspace":               {"POST", wire.PathKeys, `{"keyspace":"theirs"}`, 404},
		"more permissions to a key":               {"PATCH", wire.PathKeys + "/" + string(small), `{"permissions":{"projects":["read","write"]}}`, 403},
		"another audience to a key":               {"PATCH", wire.PathKeys + "/" + string(small), `{"audiences":["` + billing + `"]}`, 403},
		"the secret of a key as big":              {"POST", wire.PathKeys + "/" + string(small) + "/rotate", ``, 201},
		"the secret of a bigger key":              {"POST", wire.PathKeys + "/" + string(big) + "/rotate", ``, 403},
		"a client of what it holds":               {"POST", wire.PathClients, client(`,"audiences":["` + orders + `"],"rights":["keys:write","tokens:exchange"]`), 201},
		"a client with another right":             {"POST", wire.PathClients, client(`,"rights":["audit:read"]`), 403},
		"a client for another audience":           {"POST", wire.PathClients, client(`,"audiences":["` + billing + `"]`), 403},
		"a client for any audience":               {"POST", wire.PathClients, client(`,"audiences":["*"]`), 403},
		"a client with more permissions":          {"POST", wire.PathClients, `{"client_id":"new","keyspaces":["mine"],"permissions":{"projects":["write"]}}`, 403},
		"a client without a bound":                {"POST", wire.PathClients, `{"client_id":"new","keyspaces":["mine"]}`, 403},
		"a client without a bound, in words":      {"POST", wire.PathClients, `{"client_id":"new","keyspaces":["mine"],"permissions":null}`, 403},
		"a client of another keyspace":            {"POST", wire.PathClients, `{"client_id":"new","keyspaces":["mine","theirs"],"permissions":{}}`, 404},
		"a client of every keyspace":              {"POST", wire.PathClients, `{"client_id":"new","keyspaces":["*"],"permissions":{}}`, 404},
		"another right to a client":               {"PATCH", wire.PathClients + "/less", `{"rights":["audit:read"]}`, 403},
		"a right that it holds itself":            {"PATCH", wire.PathClients + "/less", `{"rights":["keys:write"]}`, 200},
		"another keyspace to a client":            {"PATCH", wire.PathClients + "/less", `{"keyspaces":["theirs"]}`, 404},
		"no bound to a client":                    {"PATCH", wire.PathClients + "/less", `{"permissions":null}`, 403},
		"a secret of a client that holds less":    {"POST", wire.PathClients + "/less/secrets", ``, 201},
		"a secret of a client that holds more":    {"POST", wire.PathClients + "/more/secrets", ``, 403},
		"a secret of a client without a bound":    {"POST", wire.PathClients + "/unbound/secrets", ``, 403},
		"less to a client that holds more":        {"PATCH", wire.PathClients + "/more", `{"rights":[]}`, 403},
		"an end to a client that holds more":      {"DELETE", wire.PathClients + "/more", ``, 403},
		"a keyspace, which would be one of all":   {"POST", wire.PathKeyspaces, `{"name":"new"}`, 403},
		"another lifetime to a keyspace of its":   {"PATCH", wire.PathKeyspaces + "/mine", `{"key_lifetime":60}`, 200},
		"an end to a key that holds more, though": {"POST", wire.PathKeys + "/" + string(worst) + "/disable", ``, 200},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, c(test.method, test.path, test.body), test.code) })
	}
	t.Run("and nothing was done of what was refused", func(t *testing.T) {
		for _, id := range []string{"more", "unbound"} {
			if c, err := w.manage.Client(t.Context(), id); err != nil || !c.ChangedAt.IsZero() {
				t.Errorf("%+v, %v", c, err)
			}
		}
		if k, err := w.manage.Key(t.Context(), big); err != nil || k.ReplacedBy != "" || !slices.Equal(k.Key.Permissions["projects"], []string{"read", "write"}) {
			t.Errorf("%+v, %v", k, err)
		}
	})
}
