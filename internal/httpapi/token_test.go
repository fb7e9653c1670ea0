package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

func claims(t *testing.T, token string) wire.Claims {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var c wire.Claims
	if err := json.Unmarshal(payload, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

var projects = verifier.Permissions{"projects": {"read", "write"}}

func TestAKeyIsExchangedForAToken(t *testing.T) {
	w := newWorld(t)
	id, key := w.newKey(manage.NewKey{Owner: "user_42", Permissions: projects, Remaining: uses(5)})
	got := w.exchange(form(key))
	want := wire.TokenResponse{
		AccessToken:     got.ok.AccessToken,
		IssuedTokenType: wire.TypeAccessToken,
		TokenType:       "Bearer",
		ExpiresIn:       300,
		Scope:           "projects:read projects:write",
	}
	if diff := cmp.Diff(want, got.ok); got.code != http.StatusOK || diff != "" {
		t.Fatalf("%v\n%s", got, diff)
	}
	c := claims(t, got.ok.AccessToken)
	view, err := w.manage.Key(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	wantClaims := wire.Claims{
		Issuer: issuerURL, Subject: "user_42", Audience: orders, ClientID: w.clientID,
		IssuedAt: noon.Unix(), ExpiresAt: noon.Unix() + 300, ID: c.ID,
		Scope: want.Scope, Permissions: projects, KeyID: string(id), Keyspace: "default",
		Status: &wire.Status{StatusList: wire.StatusReference{
			Index: view.Status.Index, URI: fmt.Sprintf("%s/statuslists/%d.0", issuerURL, view.Status.List),
		}},
	}
	if diff := cmp.Diff(wantClaims, c); diff != "" {
		t.Error(diff)
	}
	if left := w.remaining(id); left != 4 {
		t.Errorf("remaining %d, want 4", left)
	}
}

// A request is changed by pairs of a field and its value; an empty one deletes.
func TestParameters(t *testing.T) {
	w := newWorld(t)
	w.newKeyspace("other")
	_, key := w.newKey(manage.NewKey{Permissions: projects, Remaining: uses(1e6)})
	tests := map[string]struct {
		change []string
		code   int
		err    string
	}{
		"grant_type is required":                    {[]string{"grant_type", ""}, 400, "invalid_request"},
		"another grant_type is unsupported":         {[]string{"grant_type", "client_credentials"}, 400, "unsupported_grant_type"},
		"grant_type is compared exactly":            {[]string{"grant_type", strings.ToUpper(wire.GrantTokenExchange)}, 400, "unsupported_grant_type"},
		"subject_token is required":                 {[]string{"subject_token", ""}, 400, "invalid_request"},
		"subject_token_type is required":            {[]string{"subject_token_type", ""}, 400, "invalid_request"},
		"the registered access_token type will do":  {[]string{"subject_token_type", wire.TypeAccessToken}, 200, ""},
		"another subject_token_type is refused":     {[]string{"subject_token_type", wire.TypeJWT}, 400, "invalid_request"},
		"a squatted subject_token_type is refused":  {[]string{"subject_token_type", "urn:ietf:params:oauth:token-type:api_key"}, 400, "invalid_request"},
		"an access token may be asked for by name":  {[]string{"requested_token_type", wire.TypeAccessToken}, 200, ""},
		"another requested_token_type is refused":   {[]string{"requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"}, 400, "invalid_request"},
		"an actor_token is refused":                 {[]string{"actor_token", "x", "actor_token_type", wire.TypeJWT}, 400, "invalid_request"},
		"an actor_token without type is refused":    {[]string{"actor_token", "x"}, 400, "invalid_request"},
		"an actor_token_type alone is refused":      {[]string{"actor_token_type", wire.TypeJWT}, 400, "invalid_request"},
		"a cost of 1":                               {[]string{"cost", "1"}, 200, ""},
		"a cost of 7":                               {[]string{"cost", "7"}, 200, ""},
		"a cost of 0 is refused":                    {[]string{"cost", "0"}, 400, "invalid_request"},
		"a negative cost is refused":                {[]string{"cost", "-1"}, 400, "invalid_request"},
		"a signed cost is refused":                  {[]string{"cost", "+1"}, 400, "invalid_request"},
		"a fraction of a cost is refused":           {[]string{"cost", "1.5"}, 400, "invalid_request"},
		"a cost in words is refused":                {[]string{"cost", "one"}, 400, "invalid_request"},
		"a cost out of bounds is refused":           {[]string{"cost", "1000000000000000"}, 400, "invalid_request"},
		"a cost beyond 64 bits is refused":          {[]string{"cost", "99999999999999999999"}, 400, "invalid_request"},
		"the key's keyspace may be named":           {[]string{"keyspace", "default"}, 200, ""},
		"another keyspace refuses the key":          {[]string{"keyspace", "other"}, 400, "invalid_request"},
		"a keyspace that is not there does so too":  {[]string{"keyspace", "no such/one"}, 400, "invalid_request"},
		"a scope that is held":                      {[]string{"scope", "projects:read"}, 200, ""},
		"a scope of the key's two":                  {[]string{"scope", "projects:write projects:read"}, 200, ""},
		"a scope that is not held is refused":       {[]string{"scope", "projects:read projects:admin"}, 400, "invalid_scope"},
		"scopes are case-sensitive":                 {[]string{"scope", "projects:Read"}, 400, "invalid_scope"},
		"a scope without colon is refused":          {[]string{"scope", "openid"}, 400, "invalid_scope"},
		"a scope of spaces is refused":              {[]string{"scope", "  "}, 400, "invalid_scope"},
		"a scope with a quote is refused":           {[]string{"scope", `projects:"read"`}, 400, "invalid_scope"},
		"the other audience of the client":          {[]string{"audience", billing}, 200, ""},
		"an audience that is not the client's":      {[]string{"audience", "https://evil.example.com"}, 400, "invalid_target"},
		"audiences are compared byte for byte":      {[]string{"audience", orders + "/"}, 400, "invalid_target"},
		"no target, where the client has two":       {[]string{"audience", ""}, 400, "invalid_target"},
		"a resource in place of the audience":       {[]string{"audience", "", "resource", orders}, 200, ""},
		"a resource that says the same":             {[]string{"resource", orders}, 200, ""},
		"a resource beside another audience":        {[]string{"resource", billing}, 400, "invalid_target"},
		"a resource that is not absolute":           {[]string{"audience", "", "resource", "/orders"}, 400, "invalid_target"},
		"a resource with a fragment":                {[]string{"audience", "", "resource", orders + "#f"}, 400, "invalid_target"},
		"a resource with an empty fragment":         {[]string{"audience", "", "resource", orders + "#"}, 400, "invalid_target"},
		"a good audience beside a bad resource":     {[]string{"resource", "orders"}, 400, "invalid_target"},
		"what we do not know is ignored":            {[]string{"options", `{"userProject":"x"}`, "x", "y", "id", "1"}, 200, ""},
		"a JWT is no key, and not looked up as one": {[]string{"subject_token", "eyJhbGciOiJub25lIn0.e30."}, 400, "invalid_request"},
		"a key longer than any is refused":          {[]string{"subject_token", strings.Repeat("k", 513)}, 400, "invalid_request"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			w.want(w.exchange(form(key, test.change...)), test.code, test.err)
		})
	}
}

func TestRequestedJWTIsIssuedUnderThatName(t *testing.T) {
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{})
	got := w.exchange(form(key, "requested_token_type", wire.TypeJWT))
	if got.ok.IssuedTokenType != wire.TypeJWT || got.ok.TokenType != "Bearer" {
		t.Errorf("%v", got)
	}
}

func TestScopeNarrowsTheToken(t *testing.T) {
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{Permissions: projects})
	got := w.exchange(form(key, "scope", "projects:read"))
	if got.ok.Scope != "projects:read" {
		t.Errorf("scope %q", got.ok.Scope)
	}
	if diff := cmp.Diff(map[string][]string{"projects": {"read"}}, claims(t, got.ok.AccessToken).Permissions); diff != "" {
		t.Error(diff)
	}
}

func TestAnEmptyParameterCountsAsAbsent(t *testing.T) { // RFC 6749 §3.2
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{})
	empty := "&scope=&requested_token_type=&actor_token=&actor_token_type=&cost=&keyspace=&resource=&audience=&client_id=&client_secret=&x="
	w.want(w.do(w.post(form(key).Encode()+empty[:strings.Index(empty, "&audience=")]+"&client_secret=&&x")), 200, "")
	w.want(w.do(w.post(form(key).Encode()+empty)), 200, "")
	w.want(w.do(w.post(form(key, "subject_token", "").Encode()+"&subject_token=")), 400, "invalid_request")
}

func TestARepeatedParameterIsRefused(t *testing.T) {
	w := newWorld(t)
	id, key := w.newKey(manage.NewKey{Remaining: uses(5)})
	for _, name := range []string{
		"grant_type", "subject_token", "subject_token_type", "requested_token_type", "actor_token", "scope",
		"cost", "keyspace", "client_id", "client_secret", "unknown",
	} {
		f := form(key)
		value := f.Get(name)
		f[name] = []string{value, value} // also if both are empty
		w.want(w.exchange(f), 400, "invalid_request")
	}
	if w.remaining(id) != 5 {
		t.Error("charged")
	}
	f := form(key)
	f["audience"] = []string{orders, orders}
	f["resource"] = []string{orders, orders}
	w.want(w.exchange(f), 200, "")
}

func TestTargets(t *testing.T) {
	w := newWorld(t)
	id, key := w.newKey(manage.NewKey{Remaining: uses(5)})
	many := func(n int) []string {
		var list []string
		for range n {
			list = append(list, orders)
		}
		return list
	}
	f := form(key)
	f["audience"] = []string{orders, billing}
	w.want(w.exchange(f), 400, "invalid_target")
	f["audience"] = many(11)
	w.want(w.exchange(f), 400, "invalid_target")
	if w.remaining(id) != 5 {
		t.Error("charged")
	}
	f["audience"] = many(10)
	w.want(w.exchange(f), 200, "")

	w.clientID = "one-audience"
	w.secret = w.newClient(manage.NewClient{ID: w.clientID, Audiences: []string{billing}})
	got := w.exchange(form(key, "audience", ""))
	if got.code != 200 || claims(t, got.ok.AccessToken).Audience != billing {
		t.Errorf("no target, where the client has one: %v", got)
	}
	w.clientID = "no-audience"
	w.secret = w.newClient(manage.NewClient{ID: w.clientID})
	w.want(w.exchange(form(key, "audience", "")), 400, "invalid_target")
	w.want(w.exchange(form(key)), 400, "invalid_target")

	_, narrow := w.newKey(manage.NewKey{Audiences: []string{billing}})
	w.clientID, w.secret = "both", w.newClient(manage.NewClient{ID: "both", Audiences: []string{orders, billing}})
	w.want(w.exchange(form(narrow)), 400, "invalid_target")
	w.want(w.exchange(form(narrow, "audience", billing)), 200, "")
}

// Imported keys may look like anything, but a JWT goes no further, even where a
// key of that digest exists.
func TestAJWTIsNeverLookedUpAsAKey(t *testing.T) {
	w := newWorld(t)
	if _, err := w.manage.CreateKeyspace(t.Context(), manage.NewKeyspace{Name: "imported", ImportedKeys: true}); err != nil {
		t.Fatal(err)
	}
	w.clientID = "importer"
	w.secret = w.newClient(manage.NewClient{ID: w.clientID, Audiences: []string{orders}, Keyspaces: []string{"imported"}})
	for i, key := range []string{"imported-key.with.dots", "eyJhbGciOiJub25lIn0.e30.x"} {
		w.addKey(verifier.Key{
			ID: verifier.KeyID("key_" + key[:3]), Digest: verifier.NewSecret(keepSecret(key)).Digest(),
			Keyspace: "imported", State: verifier.Active, CreatedAt: noon,
		})
		w.want(w.exchange(form(key)), []int{200, 400}[i], []string{"", "invalid_request"}[i])
	}
}

// A client that was given what no resource can be still cannot ask for it as one.
func TestAResourceIsAnAbsoluteURIWithoutFragment(t *testing.T) { // RFC 8707 §2
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{})
	secret := keepSecret("a secret of a client with odd audiences")
	odd := []string{orders + "#f", orders + "#", "/orders", "orders", "https://%zz"}
	w.addClient(client.Client{
		ID: "odd", Rights: []client.Right{client.TokensExchange}, Audiences: odd, Keyspaces: []string{"default"},
		Secrets: []client.Secret{{Digest: verifier.NewSecret(secret).Digest()}}, CreatedAt: noon,
	})
	w.clientID, w.secret = "odd", secret
	for _, target := range odd {
		w.want(w.exchange(form(key, "audience", "", "resource", target)), 400, "invalid_target")
		w.want(w.exchange(form(key, "audience", target)), 200, "")
	}
}

func TestNoOtherMethodAndNoOtherPath(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "BREW"} {
		r := w.post("")
		r.Method = method
		got := w.do(r)
		if got.code != http.StatusMethodNotAllowed || got.header.Get("Allow") != "POST" {
			t.Errorf("%s: %v", method, got)
		}
	}
	for _, path := range []string{"/", "/oauth2/token/", "/oauth2//token", "/OAuth2/token", "/oauth2", "/oauth2/token/x", "/livez", "/readyz", "/metrics"} {
		r := w.post("")
		r.URL.Path = path
		w.want(w.do(r), http.StatusNotFound, "invalid_request")
	}
}
