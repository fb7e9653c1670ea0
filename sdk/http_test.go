package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

type answered struct {
	status    int
	challenge string
	retry     string
	body      string
}

func ask(a sdk.Authenticator, header http.Header, target string) answered {
	handler := sdk.Require(a, "projects", "read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := sdk.FromContext(r.Context())
		if !ok {
			panic("no token in the context")
		}
		_, _ = w.Write([]byte(token.Subject()))
	}))
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header = header
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	h := w.Result().Header
	if w.Code != http.StatusOK && (h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "application/json") {
		panic(fmt.Sprintf("a refusal with %v", h))
	}
	return answered{w.Code, h.Get("WWW-Authenticate"), h.Get("Retry-After"), w.Body.String()}
}

func TestRequireAnswersAsRFC6750Says(t *testing.T) {
	iss := startAtNoon(t)
	client := newClient(t, iss.ClientConfig(billing))
	key := iss.AddKey(sdktest.Key{Permissions: sdk.Permissions{"projects": {"read"}}})
	weak := iss.AddKey(sdktest.Key{})
	token := iss.Token(billing, "projects:read")
	const bearer = `Bearer realm="api"`
	var (
		ok        = answered{200, "", "", "user_1"}
		nothing   = answered{401, bearer, "", "{}\n"}
		invalid   = answered{401, bearer + `, error="invalid_token"`, "", `{"error":"invalid_token"}` + "\n"}
		malformed = answered{400, bearer + `, error="invalid_request"`, "", `{"error":"invalid_request"}` + "\n"}
		forbidden = answered{403, bearer + `, error="insufficient_scope", scope="projects:read"`, "", `{"error":"insufficient_scope"}` + "\n"}
	)
	for name, test := range map[string]struct {
		header http.Header
		want   answered
	}{
		"a token":                         {http.Header{"Authorization": {"Bearer " + token}}, ok},
		"a token, the scheme in any case": {http.Header{"Authorization": {"bEaReR " + token}}, ok},
		"a tab after the scheme":          {http.Header{"Authorization": {"Bearer\t" + token}}, nothing},
		"a token, the scheme in capitals": {http.Header{"Authorization": {"BEARER  " + token}}, ok},
		"a key as a bearer's":             {http.Header{"Authorization": {"Bearer " + key}}, ok},
		"a key in X-API-Key":              {http.Header{"X-Api-Key": {key}}, ok},
		"a token in X-API-Key":            {http.Header{"X-Api-Key": {token}}, ok},
		"a key beside another scheme":     {http.Header{"Authorization": {"Basic eDp5"}, "X-Api-Key": {key}}, ok},
		"the same in both headers":        {http.Header{"Authorization": {"Bearer " + key}, "X-Api-Key": {key}}, ok},
		"nothing":                         {http.Header{}, nothing},
		"an empty key":                    {http.Header{"X-Api-Key": {""}}, nothing},
		"another scheme":                  {http.Header{"Authorization": {"Basic eDp5"}}, nothing},
		"a token without a scheme":        {http.Header{"Authorization": {token}}, nothing},
		"Bearer of nothing":               {http.Header{"Authorization": {"Bearer "}}, malformed},
		"Bearer alone":                    {http.Header{"Authorization": {"Bearer"}}, malformed},
		"two Authorization headers":       {http.Header{"Authorization": {"Bearer " + token, "Bearer " + token}}, malformed},
		"two keys":                        {http.Header{"X-Api-Key": {key, key}}, malformed},
		"different values in both":        {http.Header{"Authorization": {"Bearer " + token}, "X-Api-Key": {key}}, malformed},
		"an expired token":                {http.Header{"Authorization": {"Bearer " + iss.Expired(billing, "projects:read")}}, invalid},
		"an unknown key":                  {http.Header{"X-Api-Key": {"ck_unknown"}}, invalid},
		"no key at all, by its look":      {http.Header{"X-Api-Key": {"a b"}}, invalid},
		"a token that does not reach":     {http.Header{"Authorization": {"Bearer " + iss.Token(billing, "projects:write")}}, forbidden},
		"a key that does not reach":       {http.Header{"X-Api-Key": {weak}}, forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ask(client, test.header, "/"); got != test.want {
				t.Fatalf("got %+v", got)
			}
		})
	}
	t.Run("a token in the query is not read", func(t *testing.T) {
		if got := ask(client, http.Header{}, "/?access_token="+token); got != nothing {
			t.Fatalf("got %+v", got)
		}
	})
	t.Run("a Checker takes tokens, and no keys", func(t *testing.T) {
		checker := newChecker(t, iss.CheckerConfig(billing))
		if got := ask(checker, http.Header{"X-Api-Key": {token}}, "/"); got != ok {
			t.Fatalf("got %+v", got)
		}
		if got := ask(checker, http.Header{"X-Api-Key": {key}}, "/"); got != invalid {
			t.Fatalf("got %+v", got)
		}
	})
}

type authenticator func() error

func (a authenticator) Check(context.Context, string) (*sdk.Token, error) { return nil, a() }

func TestRequireTellsWhenToRetry(t *testing.T) {
	header := http.Header{"X-Api-Key": {"ck_1"}}
	for name, test := range map[string]struct {
		err  error
		want answered
	}{
		"a limited key":              {&sdk.LimitedError{Reason: sdk.ReasonRateLimited, RetryAt: noon, RetryAfter: 1200 * time.Millisecond}, answered{429, "", "2", `{"error":"rate_limited"}` + "\n"}},
		"a spent key without refill": {&sdk.LimitedError{Reason: sdk.ReasonSpent}, answered{429, "", "", `{"error":"spent"}` + "\n"}},
		"we cannot tell":             {sdk.ErrUnavailable, answered{503, "", "1", `{"error":"temporarily_unavailable"}` + "\n"}},
		"we cannot tell for a while": {&sdk.UnavailableError{RetryAfter: 7 * time.Second}, answered{503, "", "7", `{"error":"temporarily_unavailable"}` + "\n"}},
		"forbidden for our audience": {&sdk.ForbiddenError{Audience: "x"}, answered{403, `Bearer realm="api", error="insufficient_scope", scope="projects:read"`, "", `{"error":"insufficient_scope"}` + "\n"}},
		"something else went wrong":  {errors.New("oops"), answered{500, "", "", `{"error":"server_error"}` + "\n"}},
		"neither token nor error":    {nil, answered{403, `Bearer realm="api", error="insufficient_scope", scope="projects:read"`, "", `{"error":"insufficient_scope"}` + "\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ask(authenticator(func() error { return test.err }), header, "/"); got != test.want {
				t.Fatalf("got %+v", got)
			}
		})
	}
}

func TestRequireThatWouldGuardNothingPanics(t *testing.T) {
	for name, require := range map[string]func(){
		"no authenticator": func() { sdk.Require(nil, "a", "b") },
		"no client behind": func() { sdk.Require((*sdk.Client)(nil), "a", "b") },
		"no resource":      func() { sdk.Require(authenticator(nil), "", "b") },
		"no action":        func() { sdk.Require(authenticator(nil), "a", "") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			require()
		})
	}
}

func TestAContextWithoutATokenHasNone(t *testing.T) {
	if token, ok := sdk.FromContext(t.Context()); ok || token.Allows("a", "b") {
		t.Fatal("a token out of nothing")
	}
}

func TestAuthorizeAsksNobodyForNothing(t *testing.T) {
	asked := authenticator(func() error { panic("asked") })
	for _, need := range [][2]string{{"", "read"}, {"projects", ""}} {
		_, err := sdk.Authorize(t.Context(), asked, http.Header{"X-Api-Key": {"ck_1"}}, need[0], need[1])
		var forbidden *sdk.ForbiddenError
		if !errors.As(err, &forbidden) {
			t.Errorf("%v: %v", need, err)
		}
	}
}

func TestARefusalReplacesWhatAHandlerHasPrepared(t *testing.T) {
	w := httptest.NewRecorder()
	for _, name := range []string{"Content-Length", "Content-Encoding", "ETag", "Last-Modified"} {
		w.Header().Set(name, "7")
	}
	sdk.Refuse(w, nil, &sdk.ForbiddenError{Needed: sdk.Permissions{"a": {"b"}}, Audience: "x"})
	for _, name := range []string{"Content-Length", "Content-Encoding", "ETag", "Last-Modified"} {
		if w.Header().Get(name) != "" {
			t.Errorf("%s is left", name)
		}
	}
}
