package peers

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/auth0/go-jwt-middleware/v2/jwks"
	"github.com/auth0/go-jwt-middleware/v2/validator"
	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	golangjwt "github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwk"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/zitadel/oidc/v3/pkg/client/rp"
	zitadel "github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

const (
	billing = "https://billing.example.com"
	scope   = "projects:read projects:write invoices:read"
	leeway  = 30 * time.Second // of ours; given to all who take one
)

var algorithms = []string{"EdDSA", "ES256", "RS256"}

// check takes a token for billing and returns its scope.
type check func(ctx context.Context, raw string) (scope string, err error)

type contender struct {
	name  string
	check check
}

// contenders are we, remembering seen tokens, and then the peers.
func contenders(tb testing.TB, iss *sdktest.Issuer, alg string, seen int) []contender {
	tb.Helper()
	client := &http.Client{Transport: inProcess{iss}}
	keys := iss.URL() + wire.PathJWKS
	return []contender{
		{"ours", ours(tb, iss, client, seen)},
		{"go-oidc", goOIDC(tb, iss, client, keys)},
		{"keyfunc", keyfuncJWT(tb, iss, client, keys)},
		{"jwx", jwx(tb, iss, client, keys)},
		{"auth0", auth0(tb, iss, client, keys, alg)},
		{"zitadel", zitadelRP(iss, client, keys)},
		{"go-jose", goJOSE(tb, iss)},
	}
}

// inProcess reaches the issuer without a network, so that a contender who fetches
// while it is measured pays only for its own work.
type inProcess struct{ issuer *sdktest.Issuer }

func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	t.issuer.ServeHTTP(recorder, r)
	return recorder.Result(), r.Context().Err()
}

func mustBeNil(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func ours(tb testing.TB, iss *sdktest.Issuer, client *http.Client, seen int) check {
	tb.Helper()
	checker, err := sdk.NewChecker(sdk.CheckerConfig{Issuer: iss.URL(), Audience: billing, HTTPClient: client, SeenCache: seen, Leeway: leeway})
	mustBeNil(tb, err)
	return func(ctx context.Context, raw string) (string, error) {
		token, err := checker.Check(ctx, raw)
		if err != nil {
			return "", err
		}
		return token.Scope(), nil
	}
}

// goOIDC takes an access token for an ID token, as its users do: it has no other.
// It forgives exp nothing, and nbf five minutes whatever one says.
func goOIDC(tb testing.TB, iss *sdktest.Issuer, client *http.Client, keys string) check {
	tb.Helper()
	set := gooidc.NewRemoteKeySet(gooidc.ClientContext(tb.Context(), client), keys)
	verifier := gooidc.NewVerifier(iss.URL(), set, &gooidc.Config{ClientID: billing, SupportedSigningAlgs: algorithms})
	return func(ctx context.Context, raw string) (string, error) {
		token, err := verifier.Verify(ctx, raw)
		if err != nil {
			return "", err
		}
		var said struct{ Scope string }
		err = token.Claims(&said)
		return said.Scope, err
	}
}

func keyfuncJWT(tb testing.TB, iss *sdktest.Issuer, client *http.Client, keys string) check {
	tb.Helper()
	set, err := keyfunc.NewDefaultOverrideCtx(tb.Context(), []string{keys}, keyfunc.Override{Client: client})
	mustBeNil(tb, err)
	parser := golangjwt.NewParser(
		golangjwt.WithIssuer(iss.URL()), golangjwt.WithAudience(billing), golangjwt.WithValidMethods(algorithms),
		golangjwt.WithExpirationRequired(), golangjwt.WithIssuedAt(), golangjwt.WithStrictDecoding(), golangjwt.WithLeeway(leeway),
	)
	type claims struct {
		golangjwt.RegisteredClaims
		Scope string `json:"scope"`
	}
	return func(ctx context.Context, raw string) (string, error) {
		var said claims
		_, err := parser.ParseWithClaims(raw, &said, set.KeyfuncCtx(ctx))
		return said.Scope, err
	}
}

// jwx takes the algorithm from the key, whatever the header says, and its jwt.Parse
// has no option that makes it look at crit or typ. (WithPedantic parses the token
// once more, to look at cty.)
func jwx(tb testing.TB, iss *sdktest.Issuer, client *http.Client, keys string) check {
	tb.Helper()
	jwxjwt.Settings(jwxjwt.WithNumericDateParsePedantic(true)) // else a date as text is a date
	cache, err := jwk.NewCache(tb.Context(), httprc.NewClient())
	mustBeNil(tb, err)
	mustBeNil(tb, cache.Register(tb.Context(), keys, jwk.WithHTTPClient(client)))
	set, err := cache.CachedSet(keys)
	mustBeNil(tb, err)
	options := []jwxjwt.ParseOption{
		jwxjwt.WithKeySet(set), jwxjwt.WithIssuer(iss.URL()), jwxjwt.WithAudience(billing), jwxjwt.WithAcceptableSkew(leeway),
		jwxjwt.WithMaxDelta(wire.MaxTokenLifetime, jwxjwt.ExpirationKey, jwxjwt.IssuedAtKey), jwxjwt.WithStrictStringClaims(true),
	}
	for _, name := range []string{"exp", "iat", "sub", "jti", "client_id"} {
		options = append(options, jwxjwt.WithRequiredClaim(name))
	}
	return func(_ context.Context, raw string) (string, error) {
		token, err := jwxjwt.ParseString(raw, options...)
		if err != nil {
			return "", err
		}
		var scope string
		err = token.Get("scope", &scope)
		return scope, err
	}
}

type auth0Claims struct {
	Scope  string   `json:"scope"`
	Expiry *float64 `json:"exp"`
}

func (c *auth0Claims) Validate(context.Context) error {
	if c.Expiry == nil {
		return errors.New("no exp")
	}
	return nil
}

// auth0 takes one algorithm, not a list.
func auth0(tb testing.TB, iss *sdktest.Issuer, client *http.Client, keys, alg string) check {
	tb.Helper()
	issuer, err := url.Parse(iss.URL())
	mustBeNil(tb, err)
	published, err := url.Parse(keys)
	mustBeNil(tb, err)
	provider := jwks.NewCachingProvider(issuer, time.Hour, jwks.WithCustomJWKSURI(published), jwks.WithCustomClient(client))
	v, err := validator.New(
		provider.KeyFunc, validator.SignatureAlgorithm(alg), iss.URL(), []string{billing}, validator.WithAllowedClockSkew(leeway),
		validator.WithCustomClaims(func() validator.CustomClaims { return &auth0Claims{} }),
	)
	mustBeNil(tb, err)
	return func(ctx context.Context, raw string) (string, error) {
		token, err := v.ValidateToken(ctx, raw)
		if err != nil {
			return "", err
		}
		return token.(*validator.ValidatedClaims).CustomClaims.(*auth0Claims).Scope, nil
	}
}

// zitadelRP checks the token as an ID token: what it has for access tokens does
// not look at aud. Its leeway forgives iat but brings exp forward, so it stays at
// the second that it is. Nothing looks at nbf.
func zitadelRP(iss *sdktest.Issuer, client *http.Client, keys string) check {
	verifier := rp.NewIDTokenVerifier(iss.URL(), billing, rp.NewRemoteKeySet(client, keys), rp.WithSupportedSigningAlgorithms(algorithms...))
	return func(ctx context.Context, raw string) (string, error) {
		said, err := rp.VerifyIDToken[*zitadel.AccessTokenClaims](ctx, raw, verifier)
		if err != nil {
			return "", err
		}
		return said.Scopes.String(), nil
	}
}

// goJOSE has one key in its hand and fetches nothing: a bound for all who build on
// it. It takes a token without exp, so its caller looks.
func goJOSE(tb testing.TB, iss *sdktest.Issuer) check {
	tb.Helper()
	key := publicKey(tb, iss)
	algs := []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256}
	expected := josejwt.Expected{Issuer: iss.URL(), AnyAudience: josejwt.Audience{billing}}
	return func(_ context.Context, raw string) (string, error) {
		token, err := josejwt.ParseSigned(raw, algs)
		if err != nil {
			return "", err
		}
		var said struct {
			josejwt.Claims
			Scope string `json:"scope"`
		}
		if err := token.Claims(key, &said); err != nil {
			return "", err
		}
		if said.Expiry == nil {
			return "", errors.New("no exp")
		}
		return said.Scope, said.ValidateWithLeeway(expected, leeway)
	}
}

// publicKey is the one key that the issuer publishes.
func publicKey(tb testing.TB, iss *sdktest.Issuer) any {
	tb.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(iss.KeySet(), &set); err != nil || len(set.Keys) != 1 {
		tb.Fatalf("%d keys: %v", len(set.Keys), err)
	}
	return set.Keys[0].Key
}
