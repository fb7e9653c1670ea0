package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

// manager makes requests to the management API as a client with these rights.
func (w *world) manager(id string, rights ...client.Right) func(method, path, body string) reply {
	w.t.Helper()
	secret := w.newClient(manage.NewClient{ID: id, Rights: rights})
	return func(method, path, body string) reply {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.SetBasicAuth(id, secret)
		return w.managed(r)
	}
}

func (w *world) managed(r *http.Request) reply {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.server.Public().ServeHTTP(rec, r)
	got := reply{code: rec.Code, header: rec.Header(), body: rec.Body.String()}
	if got.header.Get("Cache-Control") != "no-store" {
		w.t.Errorf("may be stored: %v", got)
	}
	var problem wire.Problem
	if got.code >= 400 && (got.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(rec.Body.Bytes(), &problem) != nil || problem.Status != got.code) {
		w.t.Errorf("no problem: %v", got)
	}
	return got
}

func signingKeysIn(t *testing.T, got reply) []wire.SigningKey {
	t.Helper()
	var all struct {
		Keys []wire.SigningKey `json:"signing_keys"`
	}
	if err := json.Unmarshal([]byte(got.body), &all); err != nil || got.code != http.StatusOK {
		t.Fatalf("%v, %v", got, err)
	}
	return all.Keys
}

func statesIn(t *testing.T, got reply) string {
	t.Helper()
	var states []string
	for _, k := range signingKeysIn(t, got) {
		states = append(states, k.State)
	}
	return strings.Join(states, " ")
}

func TestSigningKeysAreManagedByRight(t *testing.T) {
	w := newWorld(t)
	read, write := w.manager("reader", client.SigningKeysRead), w.manager("writer", client.SigningKeysWrite)
	got := read(http.MethodGet, wire.PathSigningKeys, "")
	if states := statesIn(t, got); states != "active pending" {
		t.Fatal(states)
	}
	if strings.Contains(got.body, "sealed") || strings.Contains(got.body, "private") {
		t.Error(got.body)
	}
	_, key := w.newKey(manage.NewKey{})
	before := w.exchange(form(key)).ok.AccessToken

	got = write(http.MethodPost, wire.PathSigningKeys+"/rotate", `{"emergency":true}`)
	if states := statesIn(t, got); states != "removed active pending" {
		t.Fatal(states)
	}
	keys := signingKeysIn(t, got)
	if body := w.get(wire.PathJWKS).body; strings.Contains(body, keys[0].KID) || !strings.Contains(body, keys[1].KID) {
		t.Error("the key set does not follow at once")
	}
	after := w.exchange(form(key)).ok.AccessToken
	if strings.Split(before, ".")[0] == strings.Split(after, ".")[0] {
		t.Error("the old key signs still")
	}
	if states := statesIn(t, write(http.MethodPost, wire.PathSigningKeys+"/"+keys[1].KID+"/revoke", "")); states != "removed removed active pending" {
		t.Error(states)
	}
	if states := statesIn(t, write(http.MethodPost, wire.PathSigningKeys+"/rotate", `{"emergency":true,"fresh":true}`)); states != "removed removed removed removed active pending" {
		t.Error(states)
	}
	if states := statesIn(t, write(http.MethodPost, wire.PathSigningKeys+"/rotate", "")); !strings.HasSuffix(states, "active pending") {
		t.Error(states)
	}
}

func TestTheManagementAPIRefuses(t *testing.T) {
	w := newWorld(t)
	reader, writer, other := w.manager("reader", client.SigningKeysRead), w.manager("writer", client.SigningKeysWrite), w.manager("other", client.KeysRead)
	rotate := wire.PathSigningKeys + "/rotate"
	for name, test := range map[string]struct {
		got  reply
		want int
	}{
		"a stranger":                 {w.managed(httptest.NewRequest(http.MethodGet, wire.PathSigningKeys, nil)), 401},
		"a client without the right": {other(http.MethodGet, wire.PathSigningKeys, ""), 403},
		"a reader who writes":        {reader(http.MethodPost, rotate, ""), 403},
		"a writer who reads":         {writer(http.MethodGet, wire.PathSigningKeys, ""), 403},
		"a kid of nobody":            {writer(http.MethodPost, wire.PathSigningKeys+"/nobody/revoke", ""), 404},
		"what is no JSON":            {writer(http.MethodPost, rotate, "emergency"), 400},
		"a member that is not known": {writer(http.MethodPost, rotate, `{"emergancy":true}`), 400},
		"two objects":                {writer(http.MethodPost, rotate, "{}{}"), 400},
		"fresh without an emergency": {writer(http.MethodPost, rotate, `{"fresh":true}`), 400},
		"a body that is too large":   {writer(http.MethodPost, rotate, `{"emergency":`+strings.Repeat(" ", 17<<10)+`true}`), 400},
		"a stranger's emergency":     {w.managed(httptest.NewRequest(http.MethodPost, rotate, strings.NewReader(`{"emergency":true}`))), 401},
	} {
		if test.got.code != test.want || (test.got.header.Get("WWW-Authenticate") != "") != (test.want == 401) {
			t.Errorf("%s: %v, want %d", name, test.got, test.want)
		}
	}
	if states := statesIn(t, reader(http.MethodGet, wire.PathSigningKeys, "")); states != "active pending" {
		t.Errorf("something was done: %s", states)
	}
}
