package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

func signingKeysIn(t *testing.T, got reply) []wire.SigningKey {
	t.Helper()
	return must[struct {
		Keys []wire.SigningKey `json:"signing_keys"`
	}](t, got, http.StatusOK).Keys
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

func TestTheLogTellsWhoRotatedSigningKeys(t *testing.T) {
	w := newWorld(t)
	write := w.manager("writer", client.SigningKeysWrite)
	statesIn(t, write(http.MethodPost, wire.PathSigningKeys+"/rotate", `{"emergency":true}`))
	rows, err := w.manage.Audit(t.Context(), audit.Query{Actor: "writer", Action: "signing-key"})
	if err != nil || len(rows) == 0 {
		t.Fatalf("%v, %v", rows, err)
	}
	for _, row := range rows {
		if e, err := row.Rest(); err != nil || e.Actor != (audit.Actor{Kind: audit.KindClient, ID: "writer", From: "192.0.2.1"}) {
			t.Errorf("%+v, %v", e.Actor, err)
		}
	}
}
