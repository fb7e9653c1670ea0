package httpapi

import (
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is what a Server publishes at /metrics. It counts HTTP and exchanges itself;
// the rest is counted by the types that know of it, and read when somebody asks.
//
// # Why labels are looked up
//
// Whoever can send a request could make a series with each, if a label were taken from
// what was sent. So the labels of a request are those of a table that was made from the
// routes, or one word for everything else. No label is a key, a client, an address or a
// path as sent; a keyspace is one, up to maxKeyspaces of them.
type Metrics struct {
	registry  *prometheus.Registry
	endpoints endpoints
	exchanges exchanges
	inFlight  atomic.Int64
	conns     atomic.Int64

	groups   prometheus.Histogram
	updates  prometheus.Histogram
	failures prometheus.Counter
	signing  map[string]prometheus.Observer // by algorithm
}

// Bounds of one answer at /metrics.
const (
	scrapeTimeout  = 10 * time.Second
	scrapesAtATime = 4
)

func newMetrics(version string, algorithms []string) *Metrics {
	signing := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "cambio_signing_seconds", Help: "Time that signing a token took.",
		Buckets: prometheus.ExponentialBuckets(0.00001, 2.5, 10),
	}, []string{"algorithm"})
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		groups: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "cambio_ledger_group_requests", Help: "Requests that were decided and committed together.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		updates: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "cambio_ledger_update_seconds", Help: "From the beginning of a group to its commit.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cambio_ledger_updates_failed_total", Help: "Groups of which nothing, or nobody knows what, was committed.",
		}),
		signing: map[string]prometheus.Observer{},
	}
	for _, algorithm := range algorithms {
		m.signing[algorithm] = signing.WithLabelValues(algorithm)
	}
	m.endpoints.init()
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(version), &m.endpoints, &m.exchanges, m.groups, m.updates, m.failures, signing,
	)
	return m
}

func buildInfo(version string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cambio_build_info", Help: "1, with what was built.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	}, func() float64 { return 1 })
}

// Metrics is for the hooks of a verifier.Config and an issuer.Config.
func (s *Server) Metrics() *Metrics { return s.metrics }

// Updated is a hook of verifier.Config.
func (m *Metrics) Updated(requests int, took time.Duration, err error) {
	m.groups.Observe(float64(requests))
	m.updates.Observe(took.Seconds())
	if err != nil {
		m.failures.Inc()
	}
}

// Signed is a hook of issuer.Config.
func (m *Metrics) Signed(algorithm string, took time.Duration) {
	if seconds := m.signing[algorithm]; seconds != nil {
		seconds.Observe(took.Seconds())
	}
}

// serve answers /metrics in the text format, or as OpenMetrics with exemplars.
func (m *Metrics) serve() echo.HandlerFunc {
	return echo.WrapHandler(promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError, // what can be read is better than nothing
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: scrapesAtATime,
		Timeout:             scrapeTimeout,
	}))
}

// connected is a ConnState of http.Server that counts, and calls next.
func (m *Metrics) connected(next func(net.Conn, http.ConnState)) func(net.Conn, http.ConnState) {
	return func(conn net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			m.conns.Add(1)
		case http.StateClosed, http.StateHijacked:
			m.conns.Add(-1)
		}
		next(conn, state)
	}
}

// measured counts a request and its time, and writes the answer of an error, so that
// its status is known. It is the one middleware of the public routes: each would be
// an allocation for every request.
func (s *Server) measured(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		m, began := s.metrics, time.Now()
		end := m.endpoints.of(c.Path())
		var trace requestTrace
		if s.tracer != nil {
			trace = s.beginTrace(c, end.path)
		}
		m.inFlight.Add(1)
		whole := false
		defer func() { // also when the connection is to be cut
			m.inFlight.Add(-1)
			status := c.Response().Status
			if !whole {
				status = cutOff
			}
			end.count(c.Request().Method, status)
			end.observe(time.Since(began), trace.id)
			trace.finish(status)
		}()
		if err := s.safely(next, c); err != nil {
			c.Error(err)
		}
		whole = true
		return nil
	}
}
