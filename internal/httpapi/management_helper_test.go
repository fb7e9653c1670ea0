package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/internal/wire"
)

// managing sends requests to the management API as one client. Headers are pairs; a body
// is JSON unless they say otherwise.
type managing func(method, path, body string, headers ...string) reply

// manager makes a client with these rights in the default keyspace.
func (w *world) manager(id string, rights ...client.Right) managing {
	w.t.Helper()
	return w.managerOf(manage.NewClient{ID: id, Rights: rights})
}

// root makes a client that may do everything everywhere.
func (w *world) root() managing {
	w.t.Helper()
	return w.managerOf(manage.NewClient{ID: "root", Rights: client.Rights(), Keyspaces: []string{client.AnyKeyspace}, Audiences: []string{client.AnyAudience}})
}

func (w *world) managerOf(n manage.NewClient) managing {
	w.t.Helper()
	secret := w.newClient(n)
	return func(method, path, body string, headers ...string) reply {
		w.t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		if body != "" {
			r.Header.Set("Content-Type", wire.MediaJSON)
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		r.SetBasicAuth(n.ID, secret)
		return w.managed(r)
	}
}

func (w *world) managed(r *http.Request) reply {
	w.t.Helper()
	rec := w.serve(r)
	got := reply{code: rec.Code, header: rec.Header(), body: rec.Body.String()}
	if got.header.Get("Cache-Control") != "no-store" {
		w.t.Errorf("may be stored: %v", got)
	}
	if (got.header.Get("WWW-Authenticate") != "") != (got.code == http.StatusUnauthorized) {
		w.t.Errorf("WWW-Authenticate belongs on 401 and only there: %v", got)
	}
	if got.code >= 400 {
		if got.header.Get("Content-Type") != wire.MediaProblem || problemIn(w.t, got).Status != got.code {
			w.t.Errorf("no problem: %v", got)
		}
		return got
	}
	var made struct {
		Key    string `json:"key"`
		Secret string `json:"client_secret"`
	}
	_ = json.Unmarshal(rec.Body.Bytes(), &made) // what is no object holds no secret
	keepSecret(made.Key)
	keepSecret(made.Secret)
	return got
}

func problemIn(t *testing.T, got reply) wire.Problem { t.Helper(); return read[wire.Problem](t, got) }

// read decodes an answer.
func read[T any](t *testing.T, got reply) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(got.body), &v); err != nil {
		t.Fatalf("%v: %v", err, got)
	}
	return v
}

// must decodes an answer of a status.
func must[T any](t *testing.T, got reply, code int) T {
	t.Helper()
	wantCode(t, got, code)
	return read[T](t, got)
}

func wantCode(t *testing.T, got reply, code int) {
	t.Helper()
	if got.code != code {
		t.Fatalf("got %v, want %d", got, code)
	}
}

// wantFields checks a refusal and the fields that it names.
func wantFields(t *testing.T, got reply, code int, fields ...string) {
	t.Helper()
	var named []string
	for _, e := range problemIn(t, got).Errors {
		named = append(named, e.Field)
	}
	slices.Sort(named)
	slices.Sort(fields)
	if got.code != code || !slices.Equal(named, fields) {
		t.Errorf("got %v, want %d about %v", got, code, fields)
	}
}

// things are there to be managed: one of each kind, in one keyspace.
type things struct{ key, keyspace, client, secret, kid string }

func (w *world) things(keyspace string) things {
	w.t.Helper()
	w.newKeyspace(keyspace)
	id, _ := w.newKey(manage.NewKey{Keyspace: keyspace, Owner: "owner of " + keyspace})
	made, err := w.manage.CreateClient(w.t.Context(), manage.NewClient{ID: keyspace + "-client", Keyspaces: []string{keyspace}})
	if err != nil {
		w.t.Fatal(err)
	}
	keepSecret(made.Secret.Reveal())
	keys, _, err := w.store.SigningKeys(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return things{string(id), keyspace, made.ID, client.Secret{Digest: made.Secret.Digest()}.ID(), keys[0].KID}
}

// in fills a described path in.
func (th things) in(path string) string {
	id := th.key
	if strings.HasPrefix(path, wire.PathClients) {
		id = th.client
	}
	return strings.NewReplacer("{id}", id, "{name}", th.keyspace, "{secret_id}", th.secret, "{kid}", th.kid).Replace(path)
}

// described operations of the management API, with a body that their description
// gives as an example.
type describedOperation struct{ id, method, path, body string }

func managementOperations() []describedOperation {
	doc, _ := described()
	var all []describedOperation
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !strings.HasPrefix(path, wire.PathManagement) || op.Security != nil {
				continue
			}
			d := describedOperation{id: op.OperationID, method: method, path: path}
			if op.RequestBody != nil {
				d.body = "{}"
				if example := op.RequestBody.Value.Content[wire.MediaJSON].Example; example != nil {
					text, _ := json.Marshal(example)
					d.body = string(text)
				}
			}
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b describedOperation) int { return strings.Compare(a.id, b.id) })
	return all
}

// failingChanges is a store that is read as ever, and fails every change.
type failingChanges struct {
	*sqlite.Store
	err error
}

func (s failingChanges) Change(context.Context, func(context.Context, manage.Tx) error) error {
	return s.err
}

// broken lets every change fail.
func (w *world) broken(err error) {
	w.t.Helper()
	cfg := w.config(w.store)
	cfg.Manage = manage.New(failingChanges{w.store, err})
	if w.server, err = newServer(cfg); err != nil {
		w.t.Fatal(err)
	}
}
