package sdk_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

func TestNoCacheGivesAnAnswerToSomebodyElse(t *testing.T) {
	iss := startAtNoon(t)
	client := newClient(t, iss.ClientConfig(billing))
	key := iss.AddKey(sdktest.Key{Permissions: sdk.Permissions{"projects": {"read"}}})
	bearer := []string{"Bearer " + key}
	for name, c := range map[string]struct {
		header http.Header
		says   string // what the handler says of caching
		want   string
	}{
		"a key in X-API-Key":             {http.Header{"X-Api-Key": {key}}, "", "private"},
		"as the handler says":            {http.Header{"X-Api-Key": {key}}, "public, max-age=60", "public, max-age=60"},
		"a key as a bearer's":            {http.Header{"Authorization": bearer}, "", ""}, // which RFC 9111 sees to
		"the same in both headers":       {http.Header{"Authorization": bearer, "X-Api-Key": {key}}, "", "private"},
		"a key that is refused":          {http.Header{"X-Api-Key": {"ck_unknown"}}, "", "no-store"},
		"a bearer's key that is refused": {http.Header{"Authorization": {"Bearer ck_unknown"}}, "", "no-store"},
		"nothing":                        {http.Header{}, "", "no-store"},
	} {
		t.Run(name, func(t *testing.T) {
			handler := sdk.Require(client, "projects", "read")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Add("Vary", "Accept")
				if c.says != "" {
					w.Header().Set("Cache-Control", c.says)
				}
			}))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header = c.header
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if got := w.Header().Get("Cache-Control"); got != c.want {
				t.Errorf("Cache-Control is %q, want %q", got, c.want)
			}
			vary := strings.Join(w.Header().Values("Vary"), ", ")
			if !strings.Contains(vary, "Authorization, X-API-Key") {
				t.Errorf("it varies by %q", vary)
			}
		})
	}
}

func TestWhatWasSaidOfCachingBeforeStands(t *testing.T) {
	iss := startAtNoon(t)
	client := newClient(t, iss.ClientConfig(billing))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-Api-Key", iss.AddKey(sdktest.Key{Permissions: sdk.Permissions{"projects": {"read"}}}))
	w := httptest.NewRecorder()
	w.Header().Set("Cache-Control", "no-store")
	sdk.Require(client, "projects", "read")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Fatalf("got %q", got)
	}
}
