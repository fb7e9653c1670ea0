package sdkecho_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdkecho"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

const billing = "https://billing.example.com"

func Example() {
	iss := sdktest.Start()
	defer iss.Close()
	key := iss.AddKey(sdktest.Key{Owner: "user_42", Permissions: sdk.Permissions{"projects": {"read"}}})
	client, err := sdk.NewClient(iss.ClientConfig("https://orders.example.com"))
	if err != nil {
		log.Fatal(err)
	}

	e := echo.New()
	e.GET("/projects", func(c echo.Context) error {
		token, _ := sdkecho.Token(c)
		return c.String(http.StatusOK, "hello "+token.Subject())
	}, sdkecho.Require(client, "projects", "read"))

	request := httptest.NewRequest(http.MethodGet, "/projects", nil)
	request.Header.Set("X-API-Key", key)
	answer := httptest.NewRecorder()
	e.ServeHTTP(answer, request)
	fmt.Println(answer.Code, answer.Body)
	// Output: 200 hello user_42
}

func TestTheAnswersAreThoseOfRequire(t *testing.T) {
	iss := sdktest.Start()
	defer iss.Close()
	config := iss.ClientConfig(billing)
	config.Checker.Metadata = &sdk.ResourceMetadata{}
	client, err := sdk.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	good := sdk.Permissions{"projects": {"read"}}
	spent := iss.AddKey(sdktest.Key{Permissions: good, Limited: true})

	e := echo.New()
	e.GET("/", func(c echo.Context) error {
		if _, ok := sdkecho.Token(c); !ok {
			t.Error("no token in the context")
		}
		return c.String(http.StatusOK, "in")
	}, sdkecho.Require(client, "projects", "read"))
	plain := sdk.Require(client, "projects", "read")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
		_, _ = w.Write([]byte("in"))
	}))
	for name, test := range map[string]struct {
		header http.Header
		status int
	}{
		"a good token": {http.Header{"Authorization": {"Bearer " + iss.Token(billing, "projects:read")}}, 200},
		"a good key":   {http.Header{"X-Api-Key": {iss.AddKey(sdktest.Key{Permissions: good})}}, 200},
		"nothing":      {http.Header{}, 401},
		"a bad key":    {http.Header{"X-Api-Key": {"ck_1"}}, 401},
		"a weak key":   {http.Header{"X-Api-Key": {iss.AddKey(sdktest.Key{})}}, 403},
		"a spent key":  {http.Header{"X-Api-Key": {spent}}, 429},
		"two of them":  {http.Header{"X-Api-Key": {"a", "b"}}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/?api_key=x", nil)
			r.Header = test.header
			want, got := httptest.NewRecorder(), httptest.NewRecorder()
			plain.ServeHTTP(want, r)
			e.ServeHTTP(got, r)
			if got.Code != test.status || want.Code != test.status {
				t.Errorf("%d and %d, want %d", got.Code, want.Code, test.status)
			}
			if diff := cmp.Diff(want.Header(), got.Header()) + cmp.Diff(want.Body.String(), got.Body.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRequireThatWouldGuardNothingPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	sdkecho.Require(nil, "projects", "read")
}

func TestAnErrorOfTheHandlerReachesEcho(t *testing.T) {
	iss := sdktest.Start()
	defer iss.Close()
	checker, err := sdk.NewChecker(iss.CheckerConfig(billing))
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	e.GET("/", func(echo.Context) error { return echo.NewHTTPError(http.StatusTeapot) }, sdkecho.Require(checker, "projects", "read"))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+iss.Token(billing, "projects:read"))
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	if w.Code != http.StatusTeapot {
		t.Fatalf("got %d", w.Code)
	}
}
