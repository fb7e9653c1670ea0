package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
)

// document is public, and the same for everybody.
type document struct {
	body   []byte
	etag   string // strong (RFC 9110 §8.8.3), quotes included
	media  string
	maxAge int // seconds
}

// maxAge is how many seconds caches may keep metadata and the key set.
const maxAge = int(issuer.JWKSMaxAge / time.Second)

// metadata is what a client needs to know of us (RFC 8414 §2; subject_types and
// id_token algorithms are required by OpenID Connect Discovery §3).
//
// There is no front channel, but response_types_supported is required: "none"
// says that no token comes from one. go-oidc takes the algorithms it accepts
// from id_token_signing_alg_values_supported, although no id token exists.
type metadata struct {
	Issuer            string   `json:"issuer"`
	TokenEndpoint     string   `json:"token_endpoint"`
	JWKSURI           string   `json:"jwks_uri"`
	Introspection     string   `json:"introspection_endpoint"`
	Revocation        string   `json:"revocation_endpoint"`
	StatusLists       string   `json:"status_list_aggregation_endpoint"` // Token Status List §9.1
	GrantTypes        []string `json:"grant_types_supported"`
	ResponseTypes     []string `json:"response_types_supported"`
	TokenAuthMethods  []string `json:"token_endpoint_auth_methods_supported"`
	IntrospectionAuth []string `json:"introspection_endpoint_auth_methods_supported"`
	RevocationAuth    []string `json:"revocation_endpoint_auth_methods_supported"`
	TokenAuthAlgs     []string `json:"token_endpoint_auth_signing_alg_values_supported"` // of private_key_jwt
	IntrospectionAlgs []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	RevocationAlgs    []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	SubjectTokenTypes []string `json:"subject_token_types_supported"` // our own: no standard has a name for it
	SubjectTypes      []string `json:"subject_types_supported"`
	IDTokenAlgorithms []string `json:"id_token_signing_alg_values_supported"`
}

func newMetadata(iss string, algorithms, authMethods []string) (document, error) {
	authAlgs := client.Algorithms()
	body, err := json.Marshal(metadata{
		Issuer:            iss,
		TokenEndpoint:     iss + wire.PathToken,
		JWKSURI:           iss + wire.PathJWKS,
		Introspection:     iss + wire.PathIntrospect,
		Revocation:        iss + wire.PathRevoke,
		StatusLists:       iss + wire.PathStatusLists,
		GrantTypes:        []string{wire.GrantTokenExchange},
		ResponseTypes:     []string{"none"},
		TokenAuthMethods:  authMethods,
		IntrospectionAuth: authMethods,
		RevocationAuth:    authMethods,
		TokenAuthAlgs:     authAlgs,
		IntrospectionAlgs: authAlgs,
		RevocationAlgs:    authAlgs,
		SubjectTokenTypes: []string{wire.TypeAPIKey, wire.TypeAccessToken},
		SubjectTypes:      []string{"public"},
		IDTokenAlgorithms: algorithms,
	})
	if err != nil {
		return document{}, fmt.Errorf("encoding metadata: %w", err)
	}
	sum := sha256.Sum256(body)
	return document{body, `"` + base64.RawURLEncoding.EncodeToString(sum[:]) + `"`, wire.MediaJSON, maxAge}, nil
}

func (s *Server) serveMetadata(c echo.Context) error { return s.metadata.serve(c) }

func (s *Server) serveJWKS(c echo.Context) error {
	p := s.parts.Load()
	if p == nil {
		return errStarting
	}
	set := p.JWKS()
	if len(set.Body) == 0 { // which a cache would keep
		return issuer.ErrNoSigningKey
	}
	return document{set.Body, set.ETag, wire.MediaJSON, maxAge}.serve(c)
}

// serve answers GET and HEAD, and If-None-Match (RFC 9110 §13.1.2). Other
// conditions, and Range, are ignored: a part of a key set is no use to anybody,
// and a refusal that caches may keep would be a key set to nobody.
//
// There is no stale-if-error and no stale-while-revalidate: a key that was
// removed in an emergency must not live on in a cache.
func (d document) serve(c echo.Context) error {
	h := c.Response().Header()
	h.Set("Content-Type", d.media)
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(d.maxAge))
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("ETag", d.etag)
	h.Set("Accept-Ranges", "none")
	for _, name := range []string{"Range", "If-Range", "If-Match", "If-Unmodified-Since", "If-Modified-Since"} {
		c.Request().Header.Del(name)
	}
	http.ServeContent(c.Response(), c.Request(), "", time.Time{}, bytes.NewReader(d.body))
	return nil
}
