package sdk_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/sdk"
)

func describing(audience string) func(*sdk.CheckerConfig) {
	return func(c *sdk.CheckerConfig) {
		c.Audience = audience
		c.Metadata = &sdk.ResourceMetadata{Scopes: []string{"projects:read"}, Name: "Orders", Documentation: "https://orders.example.com/docs"}
	}
}

func TestMetadataIsWhereRFC9728PutsIt(t *testing.T) {
	iss := start(t)
	for audience, want := range map[string]struct{ url, path, not string }{
		"https://api.example.com":         {"https://api.example.com/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/v1"},
		"https://api.example.com/":        {"https://api.example.com/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource", "/"},
		"https://api.example.com/v1":      {"https://api.example.com/.well-known/oauth-protected-resource/v1", "/.well-known/oauth-protected-resource/v1", "/.well-known/oauth-protected-resource"},
		"https://api.example.com/v1/":     {"https://api.example.com/.well-known/oauth-protected-resource/v1/", "/.well-known/oauth-protected-resource/v1/", "/.well-known/oauth-protected-resource/v1/x"},
		"https://api.example.com:8443/a/": {"https://api.example.com:8443/.well-known/oauth-protected-resource/a/", "/.well-known/oauth-protected-resource/a/", "/"},
	} {
		t.Run(audience, func(t *testing.T) {
			config := iss.CheckerConfig("")
			describing(audience)(&config)
			checker := newChecker(t, config)
			mux := http.NewServeMux()
			mux.Handle(checker.Metadata())
			mux.HandleFunc("GET /", http.NotFound)
			mux.Handle("GET /guarded", sdk.Require(checker, "projects", "read")(http.NotFoundHandler()))

			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/guarded", nil))
			if got, challenge := w.Header().Get("WWW-Authenticate"), `Bearer realm="api", resource_metadata="`+want.url+`"`; got != challenge {
				t.Errorf("challenge %s, want %s", got, challenge)
			}

			w = httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, want.path, nil))
			var got map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
				t.Fatalf("%d, %v", w.Code, err)
			}
			if diff := cmp.Diff(map[string]any{
				"resource": audience, "authorization_servers": []any{iss.URL()}, "scopes_supported": []any{"projects:read"},
				"bearer_methods_supported": []any{"header"}, "resource_name": "Orders", "resource_documentation": "https://orders.example.com/docs",
			}, got); diff != "" {
				t.Error(diff)
			}
			if h := w.Header(); h.Get("Content-Type") != "application/json" || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Cache-Control") != "public, max-age=3600" {
				t.Errorf("headers %v", h)
			}

			w = httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, want.not, nil))
			if w.Code != http.StatusNotFound {
				t.Errorf("%s answers %d", want.not, w.Code)
			}
			_, handler := checker.Metadata()
			for method, status := range map[string]int{http.MethodHead: 200, http.MethodOptions: 204, http.MethodPost: 405} {
				w = httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest(method, want.path, nil))
				if w.Code != status || w.Header().Get("Access-Control-Allow-Origin") != "*" {
					t.Errorf("%s answers %d, %v", method, w.Code, w.Header())
				}
			}
		})
	}
}

func TestMetadataSaysOnlyWhatIsKnown(t *testing.T) {
	iss := start(t)
	config := iss.ClientConfig("https://api.example.com")
	config.Checker.Metadata = &sdk.ResourceMetadata{}
	client := newClient(t, config)
	_, handler := client.Metadata()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	want := `{"resource":"https://api.example.com","authorization_servers":["` + iss.URL() + `"],"bearer_methods_supported":["header"]}`
	if w.Body.String() != want {
		t.Errorf("got  %s\nwant %s", w.Body, want)
	}
	if got := ask(client, http.Header{}, "/").challenge; !strings.HasSuffix(got, `resource_metadata="https://api.example.com/.well-known/oauth-protected-resource"`) {
		t.Errorf("challenge %s", got)
	}
}

func TestOnlyABackendThatIsNamedByItsURLHasMetadata(t *testing.T) {
	iss := start(t)
	for _, audience := range []string{"orders", "http://api.example.com", "https://api.example.com/?x", "https://user@api.example.com", "urn:x"} {
		config := iss.CheckerConfig("")
		describing(audience)(&config)
		if _, err := sdk.NewChecker(config); err == nil || !strings.Contains(err.Error(), "Metadata") {
			t.Errorf("%s: %v", audience, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("metadata out of nothing")
		}
	}()
	newChecker(t, iss.CheckerConfig(billing)).Metadata()
}
