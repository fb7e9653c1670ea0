package httpapi_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/internal/manage"
)

func TestBodies(t *testing.T) {
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{})
	good := form(key).Encode()
	fill := func(n int) string { return good + "&x=" + strings.Repeat("y", n-len(good)-3) }
	tests := map[string]struct {
		body string
		code int
	}{
		"of 16 KiB are read":                       {fill(16 << 10), 200},
		"over 16 KiB are refused":                  {fill(16<<10 + 1), 413},
		"far over 16 KiB are refused":              {fill(1 << 20), 413},
		"with 50 parameters are read":              {good + strings.Repeat("&audience=", 46), 200},
		"with 51 parameters are refused":           {good + strings.Repeat("&audience=", 47), 400},
		"with empty pairs are read":                {"&&" + good + "&&&", 200},
		"with half an escape are refused":          {good + "&x=%2", 400},
		"with a broken escape are refused":         {good + "&x=%zz", 400},
		"with a broken escape in a name":           {good + "&%zz=x", 400},
		"with bytes that are not UTF-8":            {good + "&x=\xff", 400},
		"with escaped bytes that are not UTF-8":    {good + "&x=%ff", 400},
		"with a name that is repeated in disguise": {good + "&grant%5Ftype=x", 400},
		"with a semicolon: it separates nothing":   {good + "&x=a;grant_type=b", 200},
		"of JSON":                                  {`{"grant_type":"x"}`, 400},
		"of nothing":                               {"", 400},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			w.want(w.do(w.post(test.body)), test.code, map[bool]string{false: "invalid_request"}[test.code == 200])
		})
		t.Run(name+", in chunks", func(t *testing.T) {
			w := *w
			w.t = t
			r := w.post("")
			r.Body = io.NopCloser(bytes.NewReader([]byte(test.body)))
			r.ContentLength = -1
			w.want(w.do(r), test.code, map[bool]string{false: "invalid_request"}[test.code == 200])
		})
	}
	t.Run("that break off", func(t *testing.T) {
		w := *w
		w.t = t
		r := w.post("")
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader(good), brokenReader{}))
		r.ContentLength = -1
		w.want(w.do(r), 400, "invalid_request")
	})
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestOnlyAFormIsRead(t *testing.T) {
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{})
	for media, code := range map[string]int{
		"application/x-www-form-urlencoded":                200,
		"application/x-www-form-urlencoded; charset=UTF-8": 200,
		"application/x-www-form-urlencoded;charset=utf-8":  200,
		"Application/X-WWW-Form-URLencoded":                200,
		"application/x-www-form-urlencoded; charset":       200,
		"application/x-www-form-urlencodedx":               415,
		"application/json":                                 415,
		"multipart/form-data; boundary=x":                  415,
		"text/plain":                                       415,
		"/":                                                415,
		"":                                                 415,
		"application/json, application/x-www-form-urlencoded": 415,
	} {
		r := w.post(form(key).Encode())
		r.Header.Set("Content-Type", media)
		w.want(w.do(r), code, map[bool]string{false: "invalid_request"}[code == http.StatusOK])
	}
}
