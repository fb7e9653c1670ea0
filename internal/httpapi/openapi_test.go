package httpapi_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/wire"
)

// described is the OpenAPI document, with which every request and answer of the
// tests of this package must agree.
var described = sync.OnceValues(func() (*openapi3.T, routers.Router) {
	loader := openapi3.NewLoader()
	text, err := os.ReadFile("openapi.json")
	if err != nil {
		panic(err)
	}
	doc, err := loader.LoadFromData(text)
	if err != nil {
		panic(err)
	}
	doc.Servers = nil
	for _, schema := range doc.Components.Schemas {
		closed(schema.Value)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	for _, media := range []string{wire.MediaStatusList, wire.MediaLines, wire.MediaCSV} {
		openapi3filter.RegisterBodyDecoder(media, openapi3filter.PlainBodyDecoder)
	}
	return doc, router
})

// closed makes objects refuse members that are not described, also in answers, where
// clients must expect more of them some day.
func closed(schema *openapi3.Schema) {
	if schema == nil {
		return
	}
	open := schema.AdditionalProperties.Has == nil && schema.AdditionalProperties.Schema == nil
	if len(schema.Properties) > 0 && open {
		schema.AdditionalProperties.Has = new(false)
	}
	for _, member := range schema.Properties {
		closed(member.Value)
	}
	if schema.Items != nil {
		closed(schema.Items.Value)
	}
}

// serve has the public handler answer, and holds what goes in and comes out against
// the document.
func (w *world) serve(r *http.Request) *httptest.ResponseRecorder {
	w.t.Helper()
	sent, err := io.ReadAll(r.Body)
	if err == nil {
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	asked := r.Clone(context.Background())
	rec := httptest.NewRecorder()
	w.server.Public().ServeHTTP(rec, r)
	path, ours := strings.CutPrefix(asked.URL.Path, w.server.Base())
	asked.URL.Path = path
	if err := agrees(asked, sent, rec); ours && err != nil {
		w.t.Errorf("%s %s is not as described: %v\nasked %s\ngot %d %v %s", asked.Method, asked.URL, err, sent, rec.Code, rec.Header(), rec.Body)
	}
	return rec
}

// agrees holds a request that was answered, and its answer, against the document. What
// is refused need not be as described. Paths that are not in it are left out: there is
// a test that none is missing.
func agrees(r *http.Request, sent []byte, rec *httptest.ResponseRecorder) error {
	input := describedInput(r, sent)
	if input == nil {
		return nil
	}
	if rec.Code < 300 && !strings.Contains(string(sent), "x=a;") { // which kin-openapi reads in another way
		if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
			return err
		}
	}
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: rec.Code, Header: rec.Header(),
		Body:    io.NopCloser(bytes.NewReader(rec.Body.Bytes())),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
}

// describedInput finds what a request is about; nil: the document does not know.
func describedInput(r *http.Request, sent []byte) *openapi3filter.RequestValidationInput {
	r.Body = io.NopCloser(bytes.NewReader(sent))
	_, router := described()
	route, params, err := router.FindRoute(r)
	if err != nil || strings.HasSuffix(r.URL.Path, "/") {
		return nil
	}
	return &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, RejectWhenRequestBodyNotSpecified: true},
	}
}

// asDescribed reports whether a request is one that the document allows.
func asDescribed(r *http.Request, sent []byte) bool {
	input := describedInput(r, sent)
	return input != nil && openapi3filter.ValidateRequest(context.Background(), input) == nil && onlyDescribed(r, input.Route)
}

// onlyDescribed tells whether a request has no condition, key or parameter that is not
// described, nor one that must not be repeated: kin-openapi does not look.
func onlyDescribed(r *http.Request, route *routers.Route) bool {
	for _, name := range []string{"If-Match", wire.HeaderIdempotencyKey} {
		if len(r.Header.Values(name)) > 0 && route.Operation.Parameters.GetByInAndName("header", name) == nil {
			return false
		}
	}
	for name, values := range r.URL.Query() {
		if p := route.Operation.Parameters.GetByInAndName("query", name); p == nil || len(values) > 1 && !p.Schema.Value.Type.Is("array") {
			return false
		}
	}
	return true
}

var parameter = regexp.MustCompile(`:[a-z]+|\{[a-z_]+\}`)

func TestEveryRouteIsDescribedAndEveryDescriptionIsARoute(t *testing.T) {
	w := newWorld(t)
	var routes, descriptions []string
	for method, path := range w.server.Routes() {
		routes = append(routes, method+" "+parameter.ReplaceAllString(path, "{}"))
	}
	doc, _ := described()
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			descriptions = append(descriptions, method+" "+parameter.ReplaceAllString(path, "{}"))
		}
	}
	slices.Sort(routes)
	slices.Sort(descriptions)
	if diff := cmp.Diff(routes, descriptions); diff != "" {
		t.Errorf("(-route +description)\n%s", diff)
	}
}

func TestTheDescriptionIsServedToEverybodyFromMemory(t *testing.T) {
	w := newWorld(t)
	got := w.get(wire.PathOpenAPI)
	doc, err := openapi3.NewLoader().LoadFromData([]byte(got.body))
	if err != nil || got.code != http.StatusOK || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v, %v", got, err)
	}
	if doc.Servers[0].URL != issuerURL || doc.OpenAPI != "3.1.0" {
		t.Errorf("%s at %s", doc.OpenAPI, doc.Servers[0].URL)
	}
	if again := w.get(wire.PathOpenAPI, "If-None-Match", got.header.Get("ETag")); again.code != http.StatusNotModified {
		t.Errorf("%v", again)
	}
	elsewhere := underPath(t)
	got = elsewhere.get("/eu/tenant-1" + wire.PathOpenAPI)
	if !strings.Contains(got.body, `"url": "`+issuerURL+`/eu/tenant-1"`) {
		t.Errorf("another issuer is not named: %.2000s", got.body)
	}
}
