package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

func TestKeyspacesAreMadeChangedAndDeleted(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	got := root("POST", wire.PathKeyspaces, `{"name":"live","prefix":"acme_live","key_lifetime":3600,"token_lifetime":60,"publish_metadata":true,"imported_keys":false}`)
	want := wire.Keyspace{Name: "live", Prefix: "acme_live", KeyLifetime: 3600, TokenLifetime: 60, PublishMetadata: true, CreatedAt: new(noon), Version: 1}
	if diff := cmp.Diff(want, must[wire.Keyspace](t, got, 201)); diff != "" || got.header.Get("Location") != wire.PathKeyspaces+"/live" || got.header.Get("ETag") != `"1"` {
		t.Errorf("%v %s", got.header, diff)
	}
	wantCode(t, root("POST", wire.PathKeyspaces, `{"name":"live"}`), http.StatusConflict)
	wantFields(t, root("POST", wire.PathKeyspaces, `{"name":"","prefix":"A","token_lifetime":901}`), 422, "name", "prefix", "token_lifetime")
	wantFields(t, root("PATCH", wire.PathKeyspaces+"/live", `{"prefix":null}`), 400, "prefix")

	got = root("PATCH", wire.PathKeyspaces+"/live", `{"key_lifetime":null,"publish_metadata":false}`)
	want.KeyLifetime, want.PublishMetadata, want.Version, want.ChangedAt = 0, false, 2, new(noon)
	if diff := cmp.Diff(want, must[wire.Keyspace](t, got, 200)); diff != "" {
		t.Error(diff)
	}
	if v := must[wire.Voided](t, root("POST", wire.PathKeyspaces+"/live/void", `{"reason":"a leak"}`), 200); *v.Keyspaces != 1 {
		t.Errorf("%+v", v)
	}
	if v := must[wire.Voided](t, root("POST", wire.PathVoid, `{"all":true}`), 200); *v.Keyspaces != 2 {
		t.Errorf("%d keyspaces are void", *v.Keyspaces)
	}
	wantCode(t, root("DELETE", wire.PathKeyspaces+"/default", ""), http.StatusConflict)
	wantCode(t, root("DELETE", wire.PathKeyspaces+"/live", ""), http.StatusNoContent)
	wantCode(t, root("GET", wire.PathKeyspaces+"/live", ""), http.StatusNotFound)
	if list := root("GET", wire.PathKeyspaces, ""); strings.Contains(list.body, "live") || !strings.Contains(list.body, "default") {
		t.Errorf("%v", list)
	}
}

func TestVoidingReachesTheTokensOfAnOwner(t *testing.T) {
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{Owner: "ann"})
	_, other := w.newKey(manage.NewKey{Owner: "bob"})
	annes, bobs := w.exchange(form(key)).ok.AccessToken, w.exchange(form(other)).ok.AccessToken
	if v := must[wire.Voided](t, w.root()("POST", wire.PathVoid, `{"owner":"ann"}`), 200); *v.Keys != 1 {
		t.Errorf("%d keys", *v.Keys)
	}
	ask := w.introspector("gateway", orders)
	wantInactive(t, "of the owner", ask(annes))
	if got := ask(bobs); !strings.Contains(got.body, `"active":true`) {
		t.Errorf("of another: %v", got)
	}
}

func TestAClientIsMadeAndItsSecretsReplacedOneByOne(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	_, key := w.newKey(manage.NewKey{})
	works := func(secret string) bool {
		r := w.post(form(key).Encode())
		r.SetBasicAuth("shop", secret)
		return w.do(r).code == http.StatusOK
	}
	got := root("POST", wire.PathClients, `{"client_id":"shop","audiences":["`+orders+`"],"algorithm":"EdDSA"}`)
	made := must[wire.CreatedClient](t, got, 201)
	want := wire.Client{
		ID: "shop", Rights: []string{"tokens:exchange"}, Audiences: []string{orders}, Keyspaces: []string{"default"}, Algorithm: "EdDSA",
		Secrets: []wire.ClientSecret{{ID: made.SecretID, CreatedAt: new(noon)}}, Certificates: []string{}, CreatedAt: new(noon), Version: made.Version,
	}
	if diff := cmp.Diff(want, made.Client); diff != "" || got.header.Get("Location") != wire.PathClients+"/shop" {
		t.Errorf("%v %s", got.header, diff)
	}
	first := *made.Secret
	second := must[wire.CreatedClient](t, root("POST", wire.PathClients+"/shop/secrets", `{"reason":"yearly"}`), 201)
	if !works(first) || !works(*second.Secret) {
		t.Error("both must work")
	}
	wantCode(t, root("POST", wire.PathClients+"/shop/secrets", ""), http.StatusConflict)
	wantCode(t, root("DELETE", wire.PathClients+"/shop/secrets/"+made.SecretID, ""), http.StatusNoContent)
	wantCode(t, root("DELETE", wire.PathClients+"/shop/secrets/"+made.SecretID, ""), http.StatusNotFound)
	wantCode(t, root("DELETE", wire.PathClients+"/shop/secrets/"+second.SecretID, ""), http.StatusConflict)
	if works(first) || !works(*second.Secret) {
		t.Error("the second alone must work")
	}
	for _, got := range []reply{root("GET", wire.PathClients+"/shop", ""), root("GET", wire.PathClients, "")} {
		if strings.Contains(got.body, first) || strings.Contains(got.body, *second.Secret) || !strings.Contains(got.body, second.SecretID) {
			t.Errorf("%v", got)
		}
	}
	if c := must[wire.Client](t, root("POST", wire.PathClients+"/shop/disable", `{"reason":"ticket"}`), 200); !c.Disabled || works(*second.Secret) {
		t.Errorf("%+v", c)
	}
	if c := must[wire.Client](t, root("POST", wire.PathClients+"/shop/enable", ""), 200); c.Disabled || !works(*second.Secret) {
		t.Errorf("%+v", c)
	}
	c := must[wire.Client](t, root("PATCH", wire.PathClients+"/shop", `{"permissions":{"a":["b"]},"algorithm":null,"audiences":null}`), 200)
	if diff := cmp.Diff(map[string][]string{"a": {"b"}}, c.Permissions); diff != "" || c.Algorithm != "" || len(c.Audiences) != 0 {
		t.Errorf("%+v %s", c, diff)
	}
	if c := must[wire.Client](t, root("PATCH", wire.PathClients+"/shop", `{"permissions":null}`), 200); c.Permissions != nil {
		t.Errorf("%+v", c)
	}
	wantCode(t, root("POST", wire.PathClients, `{"client_id":"shop"}`), http.StatusConflict)
	wantFields(t, root("POST", wire.PathClients, `{"client_id":"a b","rights":["x"],"algorithm":"none"}`), 422, "client_id", "rights", "algorithm")
	wantFields(t, root("POST", wire.PathClients, `{"client_id":"b","keyspaces":["nowhere"]}`), 422, "keyspaces")
	wantCode(t, root("DELETE", wire.PathClients+"/shop", ""), http.StatusNoContent)
	wantCode(t, root("GET", wire.PathClients+"/shop", ""), http.StatusNotFound)
	if works(*second.Secret) {
		t.Error("works though it is deleted")
	}
}
