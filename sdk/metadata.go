package sdk

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/cambio-auth/cambio/internal/wire"
)

// ResourceMetadata is what a backend tells of itself to clients that know nothing
// but its URL, such as those of MCP (RFC 9728 §2). The rest follows from the
// CheckerConfig: resource is the Audience, authorization_servers the Issuer.
type ResourceMetadata struct {
	Scopes        []string // such as "projects:read"; zero: not told
	Name          string   // for people; zero: not told
	Documentation string   // a URL for developers; zero: not told
}

const pathMetadata = "/.well-known/oauth-protected-resource"

// metadata is a ResourceMetadata, ready to be served.
type metadata struct {
	url  string // where it is
	path string
	body []byte
}

// newMetadata fails unless the audience is the URL of this backend.
func newMetadata(config CheckerConfig) (*metadata, error) {
	if config.Metadata == nil {
		return nil, nil //nolint:nilnil // none is published
	}
	if err := checkURL("Audience", config.Audience, config.AllowHTTP); err != nil {
		return nil, fmt.Errorf("Metadata is for a backend that is named by its URL: %w", err)
	}
	u, err := url.Parse(config.Audience)
	if err != nil {
		return nil, fmt.Errorf("Audience: %w", err)
	}
	path := pathMetadata
	if u.EscapedPath() != "/" {
		path += u.EscapedPath() // inserted between host and path (RFC 9728 §3.1)
	}
	body, err := json.Marshal(struct {
		Resource      string   `json:"resource"`
		Servers       []string `json:"authorization_servers"`
		Scopes        []string `json:"scopes_supported,omitempty"`
		Methods       []string `json:"bearer_methods_supported"`
		Name          string   `json:"resource_name,omitempty"`
		Documentation string   `json:"resource_documentation,omitempty"`
	}{config.Audience, []string{config.Issuer}, config.Metadata.Scopes, []string{"header"}, config.Metadata.Name, config.Metadata.Documentation})
	return &metadata{u.Scheme + "://" + u.Host + path, path, body}, err
}

// ServeHTTP answers GET and HEAD, and what browsers ask before a script may.
func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		h.Set("Content-Type", wire.MediaJSON)
		h.Set("Cache-Control", "public, max-age=3600")
		_, _ = w.Write(m.body) // the client is gone: nobody to tell
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET, HEAD")
		h.Set("Access-Control-Allow-Headers", "*")
		w.WriteHeader(http.StatusNoContent)
	default:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		body(w, http.StatusMethodNotAllowed, wire.ErrInvalidRequest)
	}
}

// Metadata returns where the ResourceMetadata belongs, and its handler:
//
//	http.Handle(checker.Metadata())
//
// The handler answers OPTIONS too, for scripts in browsers that send headers of
// their own; the pattern is for GET and HEAD alone, so that it stands beside any
// other route. It panics if CheckerConfig.Metadata is not set.
func (c *Checker) Metadata() (pattern string, handler http.Handler) {
	if c.metadata == nil {
		panic("sdk: CheckerConfig.Metadata is not set")
	}
	pattern = http.MethodGet + " " + c.metadata.path
	if strings.HasSuffix(pattern, "/") {
		pattern += "{$}"
	}
	return pattern, c.metadata
}

// Metadata is Checker.Metadata.
func (c *Client) Metadata() (pattern string, handler http.Handler) { return c.checker.Metadata() }

func (c *Checker) metadataURL() string {
	if c.metadata == nil {
		return ""
	}
	return c.metadata.url
}

func (c *Client) metadataURL() string { return c.checker.metadataURL() }
