package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

func ExampleChecker_Check() {
	iss := sdktest.Start()
	defer iss.Close()
	checker, err := sdk.NewChecker(iss.CheckerConfig("billing"))
	if err != nil {
		log.Fatal(err)
	}
	token, err := checker.Check(context.Background(), iss.Token("billing", "invoices:read"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Allows("invoices", "read"), token.Allows("invoices", "write"))

	_, err = checker.Check(context.Background(), iss.Token("orders", "invoices:read"))
	fmt.Println(err)
	// Output:
	// true false
	// refused: not for this audience
}

func ExampleClient_VerifyAPIKey() {
	iss := sdktest.Start()
	defer iss.Close()
	key := iss.AddKey(sdktest.Key{Owner: "user_42", Permissions: sdk.Permissions{"projects": {"read"}}})

	client, err := sdk.NewClient(iss.ClientConfig("https://orders.example.com"))
	if err != nil {
		log.Fatal(err)
	}
	for _, action := range []string{"read", "write"} {
		token, err := client.VerifyAPIKey(context.Background(), sdk.VerifyRequest{
			Key:         key,
			Permissions: sdk.Permissions{"projects": {action}},
		})
		var forbidden *sdk.ForbiddenError
		switch {
		case err == nil:
			fmt.Println("good key of", token.Subject())
		case errors.As(err, &forbidden):
			fmt.Println("403, needs", forbidden.Needed)
		case errors.Is(err, sdk.ErrRefused):
			fmt.Println("401")
		default:
			fmt.Println("503")
		}
	}
	fmt.Println("exchanges:", iss.Exchanges())
	// Output:
	// good key of user_42
	// 403, needs map[projects:[write]]
	// exchanges: 1
}

func ExampleRequire() {
	iss := sdktest.Start()
	defer iss.Close()
	key := iss.AddKey(sdktest.Key{Owner: "user_42", Permissions: sdk.Permissions{"projects": {"read"}}})

	client, err := sdk.NewClient(iss.ClientConfig("https://orders.example.com"))
	if err != nil {
		log.Fatal(err)
	}
	handler := sdk.Require(client, "projects", "read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := sdk.FromContext(r.Context())
		_, _ = fmt.Fprintf(w, "hello %s", token.Subject())
	}))

	request := httptest.NewRequest(http.MethodGet, "/projects", nil)
	request.Header.Set("X-API-Key", key)
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	fmt.Println(answer.Code, answer.Body)

	answer = httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/projects", nil))
	fmt.Println(answer.Code, answer.Header().Get("WWW-Authenticate"))
	// Output:
	// 200 hello user_42
	// 401 Bearer realm="api"
}

// A permission that depends on the request, in a framework that is not net/http.
func ExampleAuthorize() {
	iss := sdktest.Start()
	defer iss.Close()
	checker, err := sdk.NewChecker(iss.CheckerConfig("https://orders.example.com"))
	if err != nil {
		log.Fatal(err)
	}
	header := http.Header{"Authorization": {"Bearer " + iss.Token("https://orders.example.com", "team-7:read")}}
	for _, team := range []string{"team-7", "team-8"} {
		token, err := sdk.Authorize(context.Background(), checker, header, team, "read")
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(token.Subject(), "may read", team)
	}
	// Output:
	// user_1 may read team-7
	// refused: forbidden, needs team-8:read
}

func ExampleChecker_Metadata() {
	iss := sdktest.Start()
	defer iss.Close()
	config := iss.CheckerConfig("https://orders.example.com")
	config.Metadata = &sdk.ResourceMetadata{Scopes: []string{"projects:read"}}
	checker, err := sdk.NewChecker(config)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(checker.Metadata())
	mux.Handle("/projects", sdk.Require(checker, "projects", "read")(http.NotFoundHandler()))

	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/projects", nil))
	fmt.Println(answer.Header().Get("WWW-Authenticate"))
	// Output: Bearer realm="api", resource_metadata="https://orders.example.com/.well-known/oauth-protected-resource"
}
