package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// elsewhere is the endpoint of paths that are none of ours.
const elsewhere = "none"

// cutOff stands for the status of an answer that was not finished.
const cutOff = -1

// The methods and the statuses that are told apart. All else is one.
var (
	methods  = [...]string{"other", http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
	statuses = [...]int{0, cutOff, 200, 201, 204, 304, 400, 401, 403, 404, 405, 406, 408, 409, 412, 413, 415, 422, 428, 429, 500, 501, 503}
)

// endpoints counts requests by route.
type endpoints struct {
	all     []*endpoint          // other first
	byRoute map[string]*endpoint // several routes may be one endpoint
	total   *prometheus.Desc
	seconds *prometheus.HistogramVec
}

type endpoint struct {
	path    string // below the issuer's
	counts  [len(methods)][len(statuses)]atomic.Int64
	seconds func() prometheus.Observer // made when it is first used
}

func (e *endpoints) init() {
	e.byRoute = map[string]*endpoint{}
	e.total = prometheus.NewDesc("cambio_http_requests_total", "Requests on the public listener that were answered.", []string{"endpoint", "method", "code"}, nil)
	e.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "cambio_http_request_duration_seconds", Help: "From the end of a request's headers to the end of its answer.",
		Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
	}, []string{"endpoint"})
	e.named(elsewhere)
}

// named returns the endpoint of this name, and makes it if there is none.
func (e *endpoints) named(path string) *endpoint {
	for _, end := range e.all {
		if end.path == path {
			return end
		}
	}
	end := &endpoint{path: path, seconds: sync.OnceValue(func() prometheus.Observer { return e.seconds.WithLabelValues(path) })}
	e.all = append(e.all, end)
	return end
}

// add tells under which name a route is counted, before the first request.
func (e *endpoints) add(route, path string) { e.byRoute[route] = e.named(path) }

func (e *endpoints) of(route string) *endpoint {
	if end := e.byRoute[route]; end != nil {
		return end
	}
	return e.all[0]
}

func (e *endpoint) count(method string, status int) {
	e.counts[max(0, slices.Index(methods[:], method))][max(0, slices.Index(statuses[:], status))].Add(1)
}

// observe keeps the trace as an example, if there is one.
func (e *endpoint) observe(took time.Duration, traceID string) {
	seconds := e.seconds()
	if with, ok := seconds.(prometheus.ExemplarObserver); ok && traceID != "" {
		with.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": traceID})
		return
	}
	seconds.Observe(took.Seconds())
}

// Describe implements prometheus.Collector.
func (e *endpoints) Describe(ch chan<- *prometheus.Desc) {
	ch <- e.total
	e.seconds.Describe(ch)
}

// Collect implements prometheus.Collector.
func (e *endpoints) Collect(ch chan<- prometheus.Metric) {
	e.seconds.Collect(ch)
	for _, end := range e.all {
		for m, method := range methods {
			for s, status := range statuses {
				if n := end.counts[m][s].Load(); n > 0 {
					ch <- prometheus.MustNewConstMetric(e.total, prometheus.CounterValue, float64(n), end.path, method, statusLabel(status))
				}
			}
		}
	}
}

func statusLabel(status int) string {
	switch status {
	case 0:
		return "other"
	case cutOff:
		return "cut"
	}
	return strconv.Itoa(status)
}
