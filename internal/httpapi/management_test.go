package httpapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// rightsFor are the rights of which one lets a client do it.
var rightsFor = map[string][]client.Right{
	"listKeys": {client.KeysRead}, "showKey": {client.KeysRead},
	"createKey": {client.KeysWrite}, "patchKey": {client.KeysWrite}, "deleteKey": {client.KeysWrite},
	"disableKey": {client.KeysWrite}, "enableKey": {client.KeysWrite}, "revokeKey": {client.KeysWrite},
	"voidKey": {client.KeysWrite}, "rotateKey": {client.KeysWrite}, "changeBudget": {client.KeysWrite},
	"verifyKey":     {client.KeysVerify},
	"listKeyspaces": {client.KeysRead, client.KeyspacesWrite}, "showKeyspace": {client.KeysRead, client.KeyspacesWrite},
	"createKeyspace": {client.KeyspacesWrite}, "patchKeyspace": {client.KeyspacesWrite}, "deleteKeyspace": {client.KeyspacesWrite},
	"voidKeyspace": {client.KeyspacesWrite}, "voidMany": {client.KeysWrite}, // of an owner
	"listClients": {client.ClientsRead}, "showClient": {client.ClientsRead},
	"createClient": {client.ClientsWrite}, "patchClient": {client.ClientsWrite}, "deleteClient": {client.ClientsWrite},
	"disableClient": {client.ClientsWrite}, "enableClient": {client.ClientsWrite}, "addSecret": {client.ClientsWrite}, "revokeSecret": {client.ClientsWrite},
	"listSigningKeys": {client.SigningKeysRead}, "rotateSigningKeys": {client.SigningKeysWrite}, "revokeSigningKey": {client.SigningKeysWrite},
	"showUsage": {client.UsageRead}, "showAudit": {client.AuditRead}, "showRefusals": {client.AuditRead},
	"reportLeaks": {client.LeaksReport},
}

func TestEveryOperationNeedsItsRight(t *testing.T) {
	for _, op := range managementOperations() {
		t.Run(op.id, func(t *testing.T) {
			w := newWorld(t)
			th := w.things("shop")
			rights, known := rightsFor[op.id]
			if !known {
				t.Fatal("which right does it need?")
			}
			others := slices.DeleteFunc(client.Rights(), func(r client.Right) bool { return slices.Contains(rights, r) })
			without := w.managerOf(manage.NewClient{ID: "without", Rights: others, Keyspaces: []string{client.AnyKeyspace}})
			wantCode(t, without(op.method, th.in(op.path), op.body), http.StatusForbidden)

			stranger := httptest.NewRequest(op.method, th.in(op.path), strings.NewReader(op.body))
			wantCode(t, w.managed(stranger), http.StatusUnauthorized)
			wrong := httptest.NewRequest(op.method, th.in(op.path), strings.NewReader(op.body))
			wrong.SetBasicAuth("without", "a wrong secret")
			wantCode(t, w.managed(wrong), http.StatusUnauthorized)

			for i, right := range rights {
				with := w.managerOf(manage.NewClient{ID: fmt.Sprint("with-", i), Rights: []client.Right{right}, Keyspaces: []string{client.AnyKeyspace}})
				if got := with(op.method, th.in(op.path), op.body); got.code == http.StatusUnauthorized || got.code >= 500 ||
					got.code == http.StatusForbidden && !strings.Contains(got.body, "itself holds") {
					t.Errorf("with %s: %v", right, got)
				}
			}
		})
	}
}

func TestVoidingEverythingNeedsAnotherRightThanVoidingAnOwner(t *testing.T) {
	w := newWorld(t)
	keys := w.managerOf(manage.NewClient{ID: "keys", Rights: []client.Right{client.KeysWrite}, Keyspaces: []string{"*"}})
	keyspaces := w.managerOf(manage.NewClient{ID: "keyspaces", Rights: []client.Right{client.KeyspacesWrite}, Keyspaces: []string{"*"}})
	bound := w.manager("bound", client.KeyspacesWrite)
	wantCode(t, keys(http.MethodPost, wire.PathVoid, `{"all":true}`), http.StatusForbidden)
	wantCode(t, keyspaces(http.MethodPost, wire.PathVoid, `{"owner":"ann"}`), http.StatusForbidden)
	wantCode(t, bound(http.MethodPost, wire.PathVoid, `{"all":true}`), http.StatusForbidden)
	wantCode(t, keyspaces(http.MethodPost, wire.PathVoid, `{"all":true}`), http.StatusOK)
	wantCode(t, keys(http.MethodPost, wire.PathVoid, `{"owner":"ann"}`), http.StatusOK)
}

func TestRightsAreNeverTakenFromMemory(t *testing.T) {
	w := newWorld(t)
	reader := w.manager("reader", client.KeysRead)
	wantCode(t, reader(http.MethodGet, wire.PathKeys, ""), http.StatusOK)
	if _, err := w.manage.PatchClient(t.Context(), "reader", manage.ClientPatch{Rights: &[]client.Right{client.UsageRead}}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, reader(http.MethodGet, wire.PathKeys, ""), http.StatusForbidden)
	if _, err := w.manage.DisableClient(t.Context(), "reader"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, reader(http.MethodGet, wire.PathKeys, ""), http.StatusUnauthorized)
}

func TestWhatCannotBeReadIsRefusedAndSaysWhere(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	id, _ := w.newKey(manage.NewKey{})
	one := wire.PathKeys + "/" + string(id)
	tests := map[string]struct {
		got    reply
		code   int
		fields []string
	}{
		"what is no JSON":                      {root("POST", wire.PathKeys, `{"name"`), 400, nil},
		"no object":                            {root("POST", wire.PathKeys, `["name"]`), 400, nil},
		"two objects":                          {root("POST", wire.PathKeys, `{}{}`), 400, nil},
		"no UTF-8":                             {root("POST", wire.PathKeys, "{\"name\":\"\xff\"}"), 400, nil},
		"half a surrogate pair":                {root("POST", wire.PathKeys, `{"name":"\ud800"}`), 400, nil},
		"what is nested too deep":              {root("POST", wire.PathKeys, `{"metadata":`+strings.Repeat(`{"a":`, 30)+`1`+strings.Repeat(`}`, 30)+`}`), 400, nil},
		"members that are not known":           {root("POST", wire.PathKeys, `{"nam":"x","Name":"y"}`), 400, []string{"nam", "Name"}},
		"a member that is there twice":         {root("POST", wire.PathKeys, `{"name":"x","\u006eame":"y"}`), 400, []string{"name"}},
		"a member within that is there twice":  {root("POST", wire.PathKeys, `{"permissions":{"a":["b"],"a":["c"]}}`), 400, []string{"a"}},
		"members of wrong types":               {root("POST", wire.PathKeys, `{"name":1,"audiences":"x","permissions":["a"],"expires_in":"1h","remaining":1.5}`), 400, []string{"name", "audiences", "permissions", "expires_in", "remaining"}},
		"null where something must be":         {root("POST", wire.PathKeys, `{"name":null,"audiences":[null],"permissions":{"a":null}}`), 400, []string{"name", "audiences", "permissions"}},
		"values that cannot be":                {root("POST", wire.PathKeys, `{"owner":"key_1","refill":"1000/fortnight","rate":"x","expires_in":9223372036854775807,"remaining":-1}`), 422, []string{"owner", "refill", "rate", "expires_in", "remaining"}},
		"a patch with values that cannot be":   {root("PATCH", one, `{"name":"\n","expires_at":"tomorrow","refill":"0/day"}`), 422, []string{"name", "expires_at", "refill"}},
		"an end at the zero time":              {root("PATCH", one, `{"expires_at":"0001-01-01T00:00:00Z"}`), 422, []string{"expires_at"}},
		"a time that no store can hold":        {root("GET", wire.PathAudit+"?from=1000-01-01T00:00:00Z&to=9999-12-31T23:59:59Z", ""), 422, []string{"from", "to"}},
		"a keyspace without a name":            {root("POST", wire.PathKeys, `{"keyspace":""}`), 422, []string{"keyspace"}},
		"a reason that does not print":         {root("POST", one+"/disable", `{"reason":"a\u0000"}`), 422, []string{"reason"}},
		"an overlap below nothing":             {root("POST", one+"/rotate", `{"overlap":-1}`), 422, []string{"overlap"}},
		"nothing to void":                      {root("POST", wire.PathVoid, `{}`), 422, []string{"owner"}},
		"an owner that cannot be":              {root("POST", wire.PathVoid, `{"owner":"key_1"}`), 422, []string{"owner"}},
		"too much to void":                     {root("POST", wire.PathVoid, `{"all":true,"owner":"ann"}`), 422, []string{"owner"}},
		"a budget change that changes nothing": {root("POST", one+"/budget", `{"reason":"why"}`), 422, []string{"remaining"}},
		"a budget that is set and added to":    {root("POST", one+"/budget", `{"remaining":5,"add":1}`), 422, []string{"remaining"}},
		"an addition to no limit":              {root("POST", one+"/budget", `{"add":1}`), 422, []string{"add"}},
		"fresh without an emergency":           {root("POST", wire.PathSigningKeys+"/rotate", `{"fresh":true}`), 422, []string{"fresh"}},
		"a body where none belongs":            {root("DELETE", one, `{}`), 400, nil},
		"a body over 16 KiB":                   {root("POST", wire.PathKeys, `{"name":`+strings.Repeat(" ", 16<<10)+`"x"}`), 413, nil},
		"a body of another type":               {root("POST", wire.PathKeys, `name=x`, "Content-Type", wire.MediaForm), 415, nil},
		"a body of no type":                    {root("POST", wire.PathKeys, `{}`, "Content-Type", ""), 415, nil},
		"a body in another charset":            {root("POST", wire.PathKeys, `{}`, "Content-Type", "application/json; charset=latin1"), 415, nil},
		"a compressed body":                    {root("POST", wire.PathKeys, `{}`, "Content-Encoding", "gzip"), 415, nil},
		"a merge patch that makes something":   {root("POST", wire.PathKeys, `{}`, "Content-Type", wire.MediaPatch), 415, nil},
		"parameters that are not known":        {root("GET", wire.PathKeys+"?ownr=x&limit=5&page=2", ""), 400, []string{"ownr", "page"}},
		"parameters of an operation with none": {root("POST", wire.PathKeys+"?dry_run=1", `{}`), 400, []string{"dry_run"}},
		"a parameter that is there twice":      {root("GET", wire.PathKeys+"?owner=a&owner=b", ""), 400, []string{"owner"}},
		"parameters that cannot be":            {root("GET", wire.PathKeys+"?limit=1001&state=gone&after=x&owner=%00", ""), 400, []string{"limit", "state", "after", "owner"}},
		"an empty parameter":                   {root("GET", wire.PathKeys+"?owner=", ""), 400, []string{"owner"}},
		"a query that is no form":              {root("GET", wire.PathKeys+"?owner=%zz", ""), 400, nil},
		"a secret in the query":                {root("GET", wire.PathKeys+"?client_secret=x", ""), 400, nil},
		"an Accept that nothing fits":          {root("GET", wire.PathKeys, "", "Accept", "text/html, application/json;q=0"), 406, nil},
		"an If-Match that is none":             {root("DELETE", one, "", "If-Match", "1"), 400, nil},
		"an If-Match with a tail":              {root("DELETE", one, "", "If-Match", `"1", x`), 400, nil},
		"an Idempotency-Key that is too long":  {root("DELETE", one, "", wire.HeaderIdempotencyKey, strings.Repeat("x", 256)), 400, nil},
		"an Idempotency-Key with a tail":       {root("DELETE", one, "", wire.HeaderIdempotencyKey, `"a";b`), 400, nil},
		"an empty Idempotency-Key":             {root("DELETE", one, "", wire.HeaderIdempotencyKey, `""`), 400, nil},
		"an Idempotency-Key for signing keys":  {root("POST", wire.PathSigningKeys+"/rotate", "", wire.HeaderIdempotencyKey, "a"), 400, nil},
		"a key in place of its id":             {root("GET", wire.PathKeys+"/ck_0123456789", ""), 404, nil},
		"an id that cannot be one":             {root("GET", wire.PathKeys+"/key_%0a", ""), 404, nil},
		"no id":                                {root("GET", wire.PathKeys+"/", ""), 404, nil},
		"a longer path":                        {root("GET", one+"/x", ""), 404, nil},
		"an action that is not known":          {root("POST", one+"/frobnicate", ""), 404, nil},
		"a path that is not known":             {root("GET", "/v1/nothing", ""), 404, nil},
		"a kid of nobody":                      {root("POST", wire.PathSigningKeys+"/nobody/revoke", ""), 404, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { wantFields(t, test.got, test.code, test.fields...) })
	}
	view, err := w.manage.Key(t.Context(), id)
	if err != nil || view.Version != 1 {
		t.Errorf("something was done: %+v, %v", view, err)
	}
	if keys := must[wire.KeyPage](t, root("GET", wire.PathKeys, ""), 200); len(keys.Keys) != 1 {
		t.Errorf("%d keys", len(keys.Keys))
	}
}

func TestOtherMethodsAreToldWhichThereAre(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	for path, allow := range map[string]string{
		wire.PathKeys:             "GET, POST",
		wire.PathKeys + "/key_1":  "GET, PATCH, DELETE",
		wire.PathClients + "/a":   "GET, PATCH, DELETE",
		wire.PathVoid:             "POST",
		wire.PathAudit:            "GET",
		wire.PathKeyspaces + "/a": "GET, PATCH, DELETE",
	} {
		got := root(http.MethodPut, path, "")
		if got.code != http.StatusMethodNotAllowed || got.header.Get("Allow") != allow {
			t.Errorf("%s: %v, want Allow: %s", path, got, allow)
		}
	}
}

func TestAnswersAreNegotiated(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	for accept, want := range map[string]string{
		"":                                "application/json",
		"*/*":                             "application/json",
		"application/*;q=0.1":             "application/json",
		"text/csv":                        "text/csv; charset=utf-8; header=present",
		"text/html, text/csv;q=0.5":       "text/csv; charset=utf-8; header=present",
		"text/*":                          "text/csv; charset=utf-8; header=present",
		"text/csv, application/json":      "application/json",
		"application/json;q=0, text/csv":  "text/csv; charset=utf-8; header=present",
		"application/json; charset=utf-8": "application/json",
	} {
		if got := root(http.MethodGet, wire.PathUsage, "", "Accept", accept); got.code != 200 || got.header.Get("Content-Type") != want {
			t.Errorf("%q: %v, want %s", accept, got, want)
		}
	}
}

func TestASlowBodyOfTheManagementAPIIsRefused(t *testing.T) {
	w := newWorld(t)
	secret := w.newClient(manage.NewClient{ID: "writer", Rights: []client.Right{client.KeysWrite}})
	r := httptest.NewRequest(http.MethodPost, wire.PathKeys, slowReader{})
	r.SetBasicAuth("writer", secret)
	wantCode(t, w.managed(r), http.StatusRequestTimeout)
}

func TestManagementThatCannotBeToldIsNoRefusal(t *testing.T) {
	t.Run("the store is away", func(t *testing.T) {
		w := newWorld(t)
		root := w.root()
		_ = w.store.Close()
		got := root(http.MethodGet, wire.PathKeys, "")
		if p := problemIn(t, got); got.code != 503 || got.header.Get("Retry-After") != "1" || p.Reason != wire.ReasonUnavailable {
			t.Errorf("%v", got)
		}
	})
	t.Run("nothing is managed here", func(t *testing.T) {
		w := newWorld(t, options{config: func(s *setup) { s.Manage = nil }})
		wantCode(t, w.root()(http.MethodGet, wire.PathKeys, ""), http.StatusNotFound)
	})
	t.Run("what may be a key is not even looked for", func(t *testing.T) {
		w := newWorld(t)
		w.broken(errors.New("no route"))
		wantCode(t, w.root()(http.MethodPost, wire.PathKeys+"/ck_0123456789/disable", ""), http.StatusNotFound)
	})
	for name, test := range map[string]struct {
		err           error
		reason, retry string
		level         string
	}{
		"the store breaks while it is changed":      {fmt.Errorf("no route to key_1: %w", os.ErrDeadlineExceeded), wire.ReasonUnavailable, "1", "ERROR"},
		"it is not known whether it was changed":    {fmt.Errorf("%w: reset", verifier.ErrOutcomeUnknown), wire.ReasonOutcomeUnknown, "", "ERROR"},
		"the client is changed at the same time":    {verifier.ErrClientChanged, wire.ReasonUnavailable, "1", "ERROR"},
		"the same change is made at the same time ": {manage.ErrExists, "", "", "INFO"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.broken(test.err)
			got := w.root()(http.MethodPost, wire.PathKeys+"/key_1/disable", "")
			p, line := problemIn(t, got), w.lastLine()
			if p.Reason != test.reason || got.header.Get("Retry-After") != test.retry || line["level"] != test.level {
				t.Errorf("%v, %v", got, line)
			}
			if line["err"] != nil && strings.Contains(line["err"].(string), "key_1") {
				t.Errorf("what stood in the path is in the log: %v", line)
			}
		})
	}
}
