package httpapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/wire"
)

// Bounds of a form.
const (
	maxBody   = 16 << 10 // bytes
	maxFields = 50
)

// form holds the fields that have a value: an empty one counts as absent (RFC
// 6749 §3.2). Only audience and resource can have several.
type form map[string][]string

func (f form) get(name string) string {
	if v := f[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// readForm reads the body of a request to an OAuth endpoint. Query parameters
// are no part of the form and mean nothing, but a secret among them is refused:
// it stands in the logs of every proxy on the way (RFC 6749 §2.3.1).
func readForm(c echo.Context) (form, error) {
	r := c.Request()
	if r.ContentLength > maxBody {
		return nil, errTooLarge
	}
	if !isForm(r.Header) {
		return nil, errMediaType
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response().Writer, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errTooLarge
	case errors.Is(err, errBusy):
		return nil, errBusy
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errSlowBody
	case err != nil:
		return nil, errBody
	}
	if secretInQuery(r.URL) {
		return nil, errQuery
	}
	return parseForm(string(body))
}

// isForm takes one Content-Type, UTF-8 if it says a charset, and no encoding on
// top of it.
func isForm(h http.Header) bool {
	if len(h.Values("Content-Type")) != 1 || h.Get("Content-Encoding") != "" {
		return false
	}
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if (err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter)) || media != wire.MediaForm {
		return false
	}
	charset, said := params["charset"]
	return !said || strings.EqualFold(charset, "utf-8")
}

// secretInQuery looks for the names wherever they stand: a query that does not
// parse is in the same logs.
func secretInQuery(u *url.URL) bool {
	query := u.RawQuery
	if decoded, err := url.QueryUnescape(query); err == nil {
		query += "&" + decoded
	}
	for _, name := range []string{wire.FieldClientSecret, wire.FieldClientAssertion, wire.FieldSubjectToken, wire.FieldActorToken} {
		if strings.Contains(query, name+"=") {
			return true
		}
	}
	return false
}

// parseForm decodes application/x-www-form-urlencoded (RFC 6749 app. B). A
// field that stands there twice is refused, whether we know it or not and even
// if it is empty, so that no proxy before us can have read another one than we.
func parseForm(body string) (form, error) {
	f := form{}
	seen := map[string]bool{}
	fields := 0
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		if fields++; fields > maxFields {
			return nil, errTooManyFields
		}
		name, value, _ := strings.Cut(pair, "=")
		name, okName := formDecode(name)
		value, okValue := formDecode(value)
		if !okName || !okValue {
			return nil, errForm
		}
		repeatable := name == wire.FieldAudience || name == wire.FieldResource
		if seen[name] && !repeatable {
			return nil, errRepeated
		}
		seen[name] = true
		if value != "" {
			f[name] = append(f[name], value)
		}
	}
	return f, nil
}

// formDecode undoes form-encoding. What results must be UTF-8.
func formDecode(s string) (string, bool) {
	decoded, err := url.QueryUnescape(s)
	return decoded, err == nil && utf8.ValidString(decoded)
}
