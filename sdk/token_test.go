package sdk_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

func TestATokenSaysWhatItsClaimsSay(t *testing.T) {
	iss := startAtNoon(t)
	claims := iss.Claims(billing, "projects:read", "projects:write")
	claims["metadata"] = json.RawMessage(`{"plan":"pro"}`)
	token, err := newChecker(t, iss.CheckerConfig(billing)).Check(t.Context(), iss.Mint(claims))
	wantAccepted(t, err)
	got := fmt.Sprintln(token.Issuer() == iss.URL(), token.Subject(), token.Audience(), token.ClientID(), token.Scope(),
		token.KeyID(), token.Keyspace(), token.IssuedAt(), token.ExpiresAt().Sub(noon), token.Permissions(), string(token.Metadata()))
	want := fmt.Sprintln(true, "user_1", billing, sdktest.ClientID, "projects:read projects:write",
		"key_1", "default", noon, 5*time.Minute, "map[projects:[read write]]", `{"plan":"pro"}`)
	if got != want || token.ID() != claims["jti"] {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestNoCallerCanChangeATokenForAnother(t *testing.T) {
	iss := startAtNoon(t)
	checker := newChecker(t, iss.CheckerConfig(billing))
	claims := iss.Claims(billing, "projects:read")
	claims["metadata"] = "m"
	raw := iss.Mint(claims)
	mine, err := checker.Check(t.Context(), raw)
	wantAccepted(t, err)
	mine.Permissions()["projects"][0] = "admin"
	mine.Permissions()["other"] = []string{"admin"}
	mine.Metadata()[0] = 'x'
	*mine = sdk.Token{}
	yours, err := checker.Check(t.Context(), raw)
	wantAccepted(t, err)
	if !yours.Allows("projects", "read") || yours.Allows("projects", "admin") || yours.Allows("other", "admin") || string(yours.Metadata()) != `"m"` {
		t.Fatal("changed")
	}
}

func TestNoTokenAllowsNothing(t *testing.T) {
	for _, token := range []*sdk.Token{nil, {}} {
		if token.Allows("", "") || len(token.Permissions()) != 0 || token.Subject() != "" || !token.ExpiresAt().IsZero() {
			t.Fatal("something out of nothing")
		}
	}
}

func TestConfigurationsTellAllThatIsWrongAtOnce(t *testing.T) {
	_, err := sdk.NewChecker(sdk.CheckerConfig{
		Issuer: "http://keys.example.com", Algorithms: []sdk.Algorithm{"none", "HS256"},
		Leeway: time.Hour, MaxStale: 48 * time.Hour, SeenCache: -1,
	})
	for _, want := range []string{"Issuer must be https", "JWKSURL must be https", "Audience", `"none"`, `"HS256"`, "Leeway", "MaxStale", "SeenCache"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	_, err = sdk.NewClient(sdk.ClientConfig{TokenURL: "http://x.example.com", GrantCache: -1})
	for _, want := range []string{"Issuer is required", "Audience", "ClientID", "ClientSecret", "cache size"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}

func TestAnIssuerIsHTTPSOrOnLoopback(t *testing.T) {
	for issuer, ok := range map[string]bool{
		"https://keys.example.com": true, "https://keys.example.com/tenant": true,
		"http://127.0.0.1:8080": true, "http://[::1]:8080": true, "http://localhost": true,
		"http://keys.example.com": false, "http://127.0.0.1.example.com": false, "http://10.0.0.1": false,
		"ftp://127.0.0.1": false, "keys.example.com": false, "": false, "https://": false,
		"https://user:secret@keys.example.com": false, "https://keys.example.com?a=b": false, "https://keys.example.com#": false,
	} {
		_, err := sdk.NewChecker(sdk.CheckerConfig{Issuer: issuer, Audience: billing})
		if (err == nil) != ok {
			t.Errorf("%s: %v", issuer, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Error("the error quotes the URL's secret")
		}
	}
	if _, err := sdk.NewChecker(sdk.CheckerConfig{Issuer: "http://keys.internal", Audience: billing, AllowHTTP: true}); err != nil {
		t.Error(err)
	}
}

func TestNothingThatPrintsHoldsASecret(t *testing.T) {
	iss := start(t)
	const secret = "cs_very-secret"
	key := iss.AddKey(sdktest.Key{Key: "ck_very-secret"})
	config := iss.ClientConfig(billing)
	client := newClient(t, config)
	raw := iss.Token(billing)
	token, err := client.Check(t.Context(), raw)
	wantAccepted(t, err)
	_, err = client.Check(t.Context(), key)
	wantAccepted(t, err)
	config.ClientSecret = sdk.NewSecret(secret)
	broken := newClient(t, config)
	_, refusal := broken.Check(t.Context(), key)
	_, forged := client.Check(t.Context(), iss.Forged(billing))
	request := sdk.VerifyRequest{Key: key, Keyspace: "k"}

	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	asJSON := slog.New(slog.NewJSONHandler(&out, nil))
	type within struct{ config sdk.ClientConfig }
	for _, v := range []any{
		config, &config, within{config}, config.ClientSecret, &config.ClientSecret, client, *client, broken,
		request, &request, []sdk.VerifyRequest{request}, token, *token, refusal, forged, errors.Join(refusal, forged),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			_, _ = fmt.Fprintf(&out, verb+"\n", v)
		}
		log.Info("", "v", v)
		asJSON.Info("", "v", v)
	}
	body, err := json.Marshal(config.ClientSecret)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(body)
	for _, hidden := range []string{secret, key, raw, fmt.Sprintf("%x", secret), fmt.Sprintf("%x", key), sdktest.ClientSecret} {
		if strings.Contains(out.String(), hidden) {
			t.Errorf("%d bytes of secret printed", len(hidden))
		}
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Error("nothing redacted: this test looks at nothing")
	}
}

func TestTheSDKCompilesThreeModules(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := strings.Fields(string(out))
	slices.Sort(modules)
	want := []string{"github.com/cambio-auth/cambio", "github.com/go-jose/go-jose/v4", "github.com/hashicorp/golang-lru/v2"}
	if got := slices.Compact(modules); !slices.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
	packages, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for p := range strings.Lines(string(packages)) {
		ours := strings.HasPrefix(p, "github.com/cambio-auth/cambio/")
		if ours && !slices.Contains([]string{"sdk", "internal/wire", "internal/permission"}, strings.TrimPrefix(strings.TrimSpace(p), "github.com/cambio-auth/cambio/")) {
			t.Errorf("imports %s", p)
		}
		if strings.HasSuffix(strings.TrimSpace(p), "/expirable") {
			t.Error("imports the cache whose goroutine cannot be stopped")
		}
	}
}
