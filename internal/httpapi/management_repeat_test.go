package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// repeatable are the changes that may be repeated under an idempotency key.
func repeatable() []describedOperation {
	var all []describedOperation
	doc, _ := described()
	for _, op := range managementOperations() {
		described := doc.Paths.Value(op.path).GetOperation(op.method)
		if op.id != "verifyKey" && described.Parameters.GetByInAndName("header", wire.HeaderIdempotencyKey) != nil {
			all = append(all, op)
		}
	}
	return all
}

// ready prepares a thing for an operation that not every thing takes.
func (w *world) ready(op string, th things) {
	w.t.Helper()
	var err error
	switch op {
	case "changeBudget":
		_, err = w.manage.ChangeBudget(w.t.Context(), verifier.KeyID(th.key), manage.BudgetChange{Remaining: uses(5)})
	case "enableKey":
		_, err = w.manage.DisableKey(w.t.Context(), verifier.KeyID(th.key))
	case "enableClient":
		_, err = w.manage.DisableClient(w.t.Context(), th.client)
	case "revokeSecret":
		var made manage.CreatedClient
		made, err = w.manage.AddSecret(w.t.Context(), th.client)
		keepSecret(made.Secret.Reveal())
	case "voidMany":
		w.newKey(manage.NewKey{Owner: "user_42"})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// path of an operation on things; a keyspace is deleted only while it has no key.
func (w *world) pathOf(op describedOperation, th things) string {
	if op.id == "deleteKeyspace" {
		w.newKeyspace("empty")
		th.keyspace = "empty"
	}
	return th.in(op.path)
}

func (w *world) logged() audit.Head {
	w.t.Helper()
	head, err := w.store.AuditHead(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return head
}

func TestARepeatOfAChangeChangesNothingAndIsAnsweredAlike(t *testing.T) {
	for _, op := range repeatable() {
		t.Run(op.id, func(t *testing.T) {
			w := newWorld(t)
			root := w.root()
			th := w.things("shop")
			w.ready(op.id, th)
			path := w.pathOf(op, th)
			before := w.logged()

			first := root(op.method, path, op.body, wire.HeaderIdempotencyKey, `"once"`)
			if first.code >= 300 || first.header.Get(wire.HeaderReplayed) != "" {
				t.Fatalf("%v", first)
			}
			after := w.logged()
			if after == before && op.id != "reportLeaks" {
				t.Error("it is not in the log")
			}
			again := root(op.method, path, op.body, wire.HeaderIdempotencyKey, "once") // the same key without quotes
			if again.code != first.code || w.logged() != after {
				t.Errorf("again: %v", again)
			}
			if op.id == "reportLeaks" { // by its nature
				return
			}
			if again.header.Get(wire.HeaderReplayed) != "true" || w.lastLine()["replayed"] != true {
				t.Errorf("not told as a repeat: %v, %v", again, w.lastLine())
			}
			for _, header := range []string{"ETag", "Location"} {
				if again.header.Get(header) != first.header.Get(header) {
					t.Errorf("%s: %s and then %s", header, first.header.Get(header), again.header.Get(header))
				}
			}
			if got, want := withoutSecret(t, again), withoutSecret(t, first); got != want {
				t.Errorf("got\n%s, want\n%s", got, want)
			}
			another := root(op.method, path, op.body, wire.HeaderIdempotencyKey, "twice")
			if another.header.Get(wire.HeaderReplayed) != "" {
				t.Errorf("under another key: %v", another)
			}
		})
	}
}

// withoutSecret is a body but for what only the first answer has, and what tells a
// repeat. A repeat must not have a secret.
func withoutSecret(t *testing.T, got reply) string {
	t.Helper()
	if got.body == "" {
		return ""
	}
	members := read[map[string]any](t, got)
	_, replayed := members["replayed"]
	for _, name := range []string{"key", "client_secret"} {
		if secret, there := members[name]; there && (secret == nil) != replayed {
			t.Errorf("%s: %v, replayed: %v", name, secret != nil, replayed)
		}
	}
	for _, name := range []string{"key", "client_secret", "secret_id", "replayed"} {
		delete(members, name)
	}
	text, _ := json.Marshal(members)
	return string(text)
}

func TestAnIdempotencyKeyStandsForOneRequestOfOneClient(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	other := w.manager("other", client.KeysWrite)
	header := []string{wire.HeaderIdempotencyKey, "k"}
	made := must[wire.CreatedKey](t, root("POST", wire.PathKeys, `{"name":"a"}`, header...), 201)
	for name, got := range map[string]reply{
		"another body":          root("POST", wire.PathKeys, `{"name":"b"}`, header...),
		"the same, spaced":      root("POST", wire.PathKeys, `{"name": "a"}`, header...),
		"another path":          root("POST", wire.PathKeys+"/"+made.ID+"/disable", ``, header...),
		"another method":        root("PATCH", wire.PathKeys+"/"+made.ID, `{"name":"a"}`, header...),
		"an If-Match, in vain":  root("DELETE", wire.PathKeys+"/"+made.ID, ``, append(header, "If-Match", `"1"`)...),
		"another kind of thing": root("POST", wire.PathKeyspaces, `{"name":"a"}`, header...),
	} {
		if got.code != http.StatusUnprocessableEntity || !strings.Contains(got.body, "Idempotency-Key") {
			t.Errorf("%s: %v", name, got)
		}
	}
	if k := must[wire.CreatedKey](t, other("POST", wire.PathKeys, `{"name":"a"}`, header...), 201); k.Replayed || k.ID == made.ID {
		t.Errorf("another client: %+v", k)
	}
	t.Run("and is forgotten after a day", func(t *testing.T) {
		w.setClock(noon.Add(24*time.Hour - time.Second))
		if k := must[wire.CreatedKey](t, root("POST", wire.PathKeys, `{"name":"a"}`, header...), 201); k.ID != made.ID {
			t.Errorf("a day is not over: %+v", k)
		}
		w.setClock(noon.Add(24 * time.Hour))
		if k := must[wire.CreatedKey](t, root("POST", wire.PathKeys, `{"name":"a"}`, header...), 201); k.ID == made.ID || k.Replayed {
			t.Errorf("%+v", k)
		}
	})
}

func TestARefusalIsNotRememberedAsDone(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	wantCode(t, root("POST", wire.PathKeys, `{"keyspace":"later"}`, wire.HeaderIdempotencyKey, "k"), http.StatusNotFound)
	w.newKeyspace("later")
	if k := must[wire.CreatedKey](t, root("POST", wire.PathKeys, `{"keyspace":"later"}`, wire.HeaderIdempotencyKey, "k"), 201); k.Replayed || k.Secret == nil {
		t.Errorf("%+v", k)
	}
}

func TestARepeatIsKnownThoughTheThingHasChangedSince(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	id, _ := w.newKey(manage.NewKey{Name: "a"})
	one := wire.PathKeys + "/" + string(id)
	header := []string{wire.HeaderIdempotencyKey, "k", "If-Match", `"7", "1"`}
	wantCode(t, root("PATCH", one, `{"name":"b"}`, header...), 200)
	wantCode(t, root("PATCH", one, `{"name":"c"}`), 200)
	got := root("PATCH", one, `{"name":"b"}`, header...)
	if k := must[wire.Key](t, got, 200); k.Name != "c" || got.header.Get("ETag") != `"3"` || got.header.Get(wire.HeaderReplayed) != "true" {
		t.Errorf("it is answered as it is now: %v", got)
	}
	wantCode(t, root("DELETE", one, "", wire.HeaderIdempotencyKey, "d"), 204)
	wantCode(t, root("DELETE", one, "", wire.HeaderIdempotencyKey, "d"), 204)
	wantCode(t, root("DELETE", one, "", wire.HeaderIdempotencyKey, "e"), 410)
}

func TestOfTwinsOneIsDone(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	const twins = 16
	var mu sync.Mutex
	secrets, ids := 0, map[string]bool{}
	var all sync.WaitGroup
	for range twins {
		all.Go(func() {
			got := root("POST", wire.PathKeys, `{"name":"twin"}`, wire.HeaderIdempotencyKey, "k")
			made := wire.CreatedKey{}
			if err := json.Unmarshal([]byte(got.body), &made); err != nil || got.code != http.StatusCreated {
				t.Errorf("%v, %v", got, err)
			}
			mu.Lock()
			defer mu.Unlock()
			ids[made.ID] = true
			if made.Secret != nil {
				secrets++
			}
		})
	}
	all.Wait()
	if page := must[wire.KeyPage](t, root("GET", wire.PathKeys, ""), 200); len(page.Keys) != 1 || len(ids) != 1 || secrets != 1 {
		t.Errorf("%d keys, %d ids, %d secrets", len(page.Keys), len(ids), secrets)
	}
}

func TestARepeatIsKnownToAnotherServerOnTheStore(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	made := must[wire.CreatedKey](t, root("POST", wire.PathKeys, `{}`, wire.HeaderIdempotencyKey, "k"), 201)
	cfg := w.config(w.store)
	var err error
	if w.server, err = newServer(cfg); err != nil {
		t.Fatal(err)
	}
	if k := must[wire.CreatedKey](t, root("POST", wire.PathKeys, `{}`, wire.HeaderIdempotencyKey, "k"), 201); k.ID != made.ID || !k.Replayed {
		t.Errorf("%+v", k)
	}
}
