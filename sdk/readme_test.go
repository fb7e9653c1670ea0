package sdk_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// Example_readme is the code of the README, in a program.
func Example_readme() {
	iss := sdktest.Start()
	defer iss.Close()
	issuer, id, secret := iss.URL(), sdktest.ClientID, sdk.NewSecret(sdktest.ClientSecret)
	key := iss.AddKey(sdktest.Key{Permissions: sdk.Permissions{"projects": {"read"}}})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	ctx := context.Background()

	client, err := sdk.NewClient(sdk.ClientConfig{Issuer: issuer, ClientID: id, ClientSecret: secret, Audience: "https://orders.example.com"})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/projects", sdk.Require(client, "projects", "read")(handler))

	token, err := client.VerifyAPIKey(ctx, sdk.VerifyRequest{Key: key, Permissions: sdk.Permissions{"projects": {"read"}}})
	if err != nil {
		log.Fatal(err)
	}
	raw := iss.Token("https://orders.example.com", "projects:read")
	checker, err := sdk.NewChecker(sdk.CheckerConfig{Issuer: issuer, Audience: "https://orders.example.com"})
	if err != nil {
		log.Fatal(err)
	}
	token, err = checker.Check(ctx, raw)
	if err != nil {
		log.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodGet, "/projects", nil)
	request.Header.Set("X-API-Key", key)
	answer := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(answer, request)
	fmt.Println(token.Allows("projects", "read"), answer.Code)
	// Output: true 204
}

func TestTheReadmeShowsCodeThatRuns(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	if len(blocks) < 2 {
		t.Fatalf("%d blocks of Go", len(blocks))
	}
	for _, block := range blocks {
		var indented strings.Builder
		for line := range strings.Lines(block[1]) {
			indented.WriteString("\t" + line)
		}
		if !strings.Contains(string(program), indented.String()) {
			t.Errorf("no example holds\n%s", block[1])
		}
	}
}
