package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// receiver is a collector that keeps what it is sent.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*otlp.Span
	all   strings.Builder // everything, as JSON
}

func receive(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var export collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &export)
		}
		if err != nil || req.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", req.URL.Path, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all.WriteString(protojson.Format(&export))
		for _, of := range export.GetResourceSpans() {
			for _, in := range of.GetScopeSpans() {
				r.spans = append(r.spans, in.GetSpans()...)
			}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) named(name string) (spans []*otlp.Span) {
	for _, s := range r.spans {
		if s.GetName() == name {
			spans = append(spans, s)
		}
	}
	return spans
}

func tracing(url string, trusting bool) func(*config.Config) {
	return func(cfg *config.Config) { cfg.TracesURL, cfg.TrustTraces = url+"/v1/traces", trusting }
}

const (
	callersTrace = "0af7651916cd43dd8448eb211c80319c"
	callersSpan  = "b7ad6b7169203331"
	traceparent  = "00-" + callersTrace + "-" + callersSpan + "-01"
)

func attribute(s *otlp.Span, key string) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

func TestAnExchangeIsOneTraceFromTheRequestToPostgreSQL(t *testing.T) {
	r := receive(t)
	s := serveHere(t, pgtest.Database(t, "", nil), tracing(r.URL, false))
	const exchanges = 40
	var callers sync.WaitGroup
	tokens := make([]string, exchanges)
	for i := range exchanges {
		callers.Go(func() {
			code, body := s.exchange(s.key, "traceparent", traceparent, "tracestate", "theirs=hunter2")
			var answer wire.TokenResponse
			if err := json.Unmarshal([]byte(body), &answer); err != nil || code != http.StatusOK {
				t.Errorf("%d %s", code, body)
			}
			_, tokens[i], _ = strings.Cut(answer.AccessToken, ".") // what is not the same in all
		})
	}
	callers.Wait()
	unknown, err := verifier.GenerateKey("ck")
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := s.exchange(unknown.Reveal(), "traceparent", "nonsense"); code != http.StatusBadRequest {
		t.Error(code)
	}
	s.get(s.public+"/v1/keys/"+s.keyID, "")
	s.stop() // sends the last

	s.holdsRequests(r, exchanges)
	s.holdsGroups(r, exchanges+1)
	digest := unknown.Digest()
	for _, secret := range append(tokens,
		s.key, s.secret, unknown.Reveal(), s.keyID, "orders-backend", "user_42", "hunter2", "127.0.0.1",
		hex.EncodeToString(digest[:]), base64.StdEncoding.EncodeToString(digest[:]),
	) {
		if strings.Contains(r.all.String(), secret) {
			t.Errorf("a span holds %q", secret)
		}
	}
}

// holdsRequests holds the spans of requests: roots of their own, with a link to what
// the caller said it belongs to, and in the log by their trace.
func (s *served) holdsRequests(r *receiver, exchanges int) {
	s.t.Helper()
	requests, linked := r.named("POST /oauth2/token"), 0
	for _, span := range requests {
		if span.GetKind() != otlp.Span_SPAN_KIND_SERVER || attribute(span, "http.route") != "/oauth2/token" || len(span.GetParentSpanId()) > 0 {
			s.t.Errorf("%v", span)
		}
		for _, link := range span.GetLinks() {
			if hex.EncodeToString(link.GetTraceId()) == callersTrace && hex.EncodeToString(link.GetSpanId()) == callersSpan && link.GetTraceState() == "" {
				linked++
			}
		}
		if !strings.Contains(s.logs.String(), "trace_id="+hex.EncodeToString(span.GetTraceId())) {
			s.t.Errorf("not in the log: %v", span)
		}
	}
	if len(requests) != exchanges+1 || linked != exchanges {
		s.t.Errorf("%d requests, %d of them linked", len(requests), linked)
	}
	if n := len(r.named("GET /v1/keys/:id")); n != 1 {
		s.t.Errorf("%d requests to look at a key", n)
	}
}

// holdsGroups holds the spans of groups: each request is in one, and what PostgreSQL
// was asked for is below.
func (s *served) holdsGroups(r *receiver, charges int) {
	s.t.Helper()
	spans := map[string]*otlp.Span{}
	for _, span := range r.spans {
		spans[string(span.GetSpanId())] = span
	}
	linked := map[string]int{}
	groups := r.named("group")
	for _, group := range groups {
		if first := spans[string(group.GetParentSpanId())]; first.GetName() != "charge" || string(group.GetLinks()[0].GetSpanId()) != string(first.GetSpanId()) {
			s.t.Errorf("the parent of a group is %v", first)
		}
		for _, link := range group.GetLinks() {
			linked[string(link.GetSpanId())]++
		}
		if !slices.ContainsFunc(r.spans, func(below *otlp.Span) bool {
			return string(below.GetParentSpanId()) == string(group.GetSpanId()) && attribute(below, "db.system.name") == "postgresql"
		}) {
			s.t.Errorf("PostgreSQL was asked for nothing by %v", group)
		}
	}
	waits := r.named("charge")
	for _, span := range waits {
		if linked[string(span.GetSpanId())] != 1 || spans[string(span.GetParentSpanId())].GetName() != "POST /oauth2/token" {
			s.t.Errorf("in %d groups, below %v: %v", linked[string(span.GetSpanId())], spans[string(span.GetParentSpanId())], span)
		}
	}
	if len(waits) != charges || len(groups) == 0 || len(groups) > charges {
		s.t.Errorf("%d charges in %d groups", len(waits), len(groups))
	}
	if !slices.ContainsFunc(r.spans, func(span *otlp.Span) bool {
		return strings.Contains(attribute(span, "db.query.text"), "FOR NO KEY UPDATE")
	}) {
		s.t.Error("no statement is told")
	}
}

func TestBehindAGatewayItsTraceGoesOn(t *testing.T) {
	r := receive(t)
	s := serveHere(t, "sqlite:"+filepath.Join(t.TempDir(), "cambio.db"), tracing(r.URL, true))
	if code, body := s.exchange(s.key, "traceparent", traceparent); code != http.StatusOK {
		t.Fatal(body)
	}
	s.stop()
	requests := r.named("POST /oauth2/token")
	if len(requests) != 1 || hex.EncodeToString(requests[0].GetTraceId()) != callersTrace || hex.EncodeToString(requests[0].GetParentSpanId()) != callersSpan {
		t.Errorf("%v", requests)
	}
}

func TestDurationsHaveTracesAsExamples(t *testing.T) {
	r := receive(t)
	s := serveHere(t, "sqlite:"+filepath.Join(t.TempDir(), "cambio.db"), tracing(r.URL, false))
	s.exchange(s.key)
	_, text := s.get(s.ops+"/metrics", "application/openmetrics-text; version=1.0.0")
	s.stop()
	m := regexp.MustCompile(`cambio_http_request_duration_seconds_bucket\{endpoint="/oauth2/token".*# \{trace_id="([0-9a-f]{32})"\}`).FindStringSubmatch(text)
	if m == nil {
		t.Fatal(text)
	}
	if of := r.named("POST /oauth2/token"); len(of) != 1 || hex.EncodeToString(of[0].GetTraceId()) != m[1] {
		t.Errorf("%s is no trace of %v", m[1], of)
	}
}

func TestACollectorThatRefusesDisturbsNobody(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	s := serveHere(t, "sqlite:"+filepath.Join(t.TempDir(), "cambio.db"), tracing(gone.URL, false))
	if code, body := s.exchange(s.key); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	s.stop()
	if !strings.Contains(s.logs.String(), "traces are not sent") {
		t.Errorf("nobody is told: %s", s.logs.String())
	}
	gone.Close()
}
