package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/wire"
)

// openAPI describes everything that the public listener answers. Tests hold it to
// the routes, and every request and answer of theirs to it.
//
//go:embed openapi.json
var openAPI []byte

// exampleIssuer stands in openAPI where our own URL belongs.
const exampleIssuer = "https://keys.example.com"

func newOpenAPI(iss string) (document, error) {
	url, err := json.Marshal(iss)
	if err != nil {
		return document{}, fmt.Errorf("encoding the issuer: %w", err)
	}
	body := bytes.Replace(openAPI, []byte(`"url": "`+exampleIssuer+`"`), append([]byte(`"url": `), url...), 1)
	sum := sha256.Sum256(body)
	return document{body, `"` + base64.RawURLEncoding.EncodeToString(sum[:]) + `"`, wire.MediaJSON, maxAge}, nil
}

func (s *Server) serveOpenAPI(c echo.Context) error { return s.openapi.serve(c) }
