package httpapi

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cambio-auth/cambio/internal/activity"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// maxKeyspaces is how many keyspaces are labels: those with the most keys.
const maxKeyspaces = 100

// otherKeyspaces stands for the rest; no keyspace can have this name.
const otherKeyspaces = "(others)"

// Watched is what /metrics reads beside the other Parts. What is nil is left out.
type Watched struct {
	Verifier *verifier.Verifier
	Usage    *usage.Recorder
	Activity func() activity.Counts // of the store
	Census   *manage.Census
}

// gauges reads the parts of a server when it is asked. Nothing in it waits for a
// database.
type gauges struct{ server *Server }

// Describe implements prometheus.Collector. It names nothing: what there is depends on
// the parts, which come later.
func (gauges) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	s, to := g.server, sink(ch)
	to.gauge("cambio_http_requests_in_flight", "Requests on the public listener that are not answered yet.", float64(s.metrics.inFlight.Load()))
	to.gauge("cambio_http_connections", "Connections to the public listener.", float64(s.metrics.conns.Load()))
	to.gauge("cambio_slots", "Exchanges and other calls that may be decided at a time.", float64(cap(s.slots)))
	to.gauge("cambio_slots_in_use", "Those that are.", float64(len(s.slots)))
	p := s.parts.Load()
	to.gauge("cambio_open", "1 once the database was opened.", boolean(p != nil))
	if p == nil {
		return
	}
	to.gauge("cambio_clients_remembered", "Clients that are known from their last calls.", float64(p.Exchange.Remembered()))
	to.ledger(p.Watched.Verifier)
	to.recorders(p)
	to.statusLists(p.Statuses)
	to.signingKeys(p.Keys)
	to.store(p.Watched.Activity)
	to.keys(p.Watched.Census)
}

// sink is where a collector sends what it has read.
type sink chan<- prometheus.Metric

func (to sink) send(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
	names, values := make([]string, 0, len(labels)/2), make([]string, 0, len(labels)/2)
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	to <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, value, values...)
}

// gauge and counter take labels as pairs of a name and a value.
func (to sink) gauge(name, help string, value float64, labels ...string) {
	to.send(prometheus.GaugeValue, name, help, value, labels...)
}

func (to sink) counter(name, help string, value float64, labels ...string) {
	to.send(prometheus.CounterValue, name, help, value, labels...)
}

func (to sink) ledger(v *verifier.Verifier) {
	if v == nil {
		return
	}
	q := v.Queue()
	to.gauge("cambio_ledger_waiting", "Requests that no group has taken yet.", float64(q.Waiting))
	to.gauge("cambio_ledger_capacity", "Requests that may wait; more are told to come back.", float64(q.Capacity))
	to.gauge("cambio_ledger_groups_in_flight", "Groups that are being decided and committed.", float64(q.Groups))
}

func (to sink) recorders(p *Parts) {
	if p.Refusals != nil {
		to.gauge("cambio_audit_refusals_pending", "Counts of refused authentications that are not written yet.", float64(p.Refusals.Pending()))
	}
	if p.Watched.Usage == nil {
		return
	}
	tally := p.Watched.Usage.Tally()
	to.gauge("cambio_usage_pending", "Counts of refused keys that are not written yet.", float64(tally.Pending))
	to.counter("cambio_usage_written_total", "Refusals of known keys whose counts were written.", float64(tally.Written))
	to.counter("cambio_usage_dropped_total", "Refusals of known keys that were not counted: too many keys at a time.", float64(tally.Dropped))
}

func (to sink) statusLists(lists *issuer.StatusLists) {
	health := lists.Health()
	to.gauge("cambio_status_lists", "Status lists that are published.", float64(health.Lists))
	to.gauge("cambio_status_lists_version", "Revision of the last change of a status that is known here.", float64(health.Revision))
	to.gauge("cambio_status_lists_age_seconds", "Since the database was last asked for changes, which happens when a list is asked for.", health.Age.Seconds())
}

// signingKeys tells of every algorithm how many keys are in each state, zeros too.
func (to sink) signingKeys(ring *issuer.Keyring) {
	if ring == nil {
		return
	}
	timetable := ring.Timetable()
	to.gauge("cambio_signing_keys_age_seconds", "Since the signing keys in the database were last looked at.", timetable.Age.Seconds())
	keys := map[[2]string]int{}
	for _, k := range timetable.Keys {
		for _, state := range []issuer.KeyState{issuer.Pending, issuer.Active, issuer.Retiring} {
			keys[[2]string{k.Algorithm, string(state)}] += 0
		}
		if k.State == issuer.Removed {
			continue
		}
		keys[[2]string{k.Algorithm, string(k.State)}]++
		if k.State == issuer.Active && !k.StopsAt.IsZero() {
			to.gauge("cambio_signing_key_rotation_seconds", "Until the next key signs.", k.StopsAt.Sub(timetable.Now).Seconds(), "algorithm", k.Algorithm)
		}
	}
	for labels, n := range keys {
		to.gauge("cambio_signing_keys", "Signing keys, as last seen in the database.", float64(n), "algorithm", labels[0], "state", labels[1])
	}
}

func (to sink) store(activity func() activity.Counts) {
	if activity == nil {
		return
	}
	counts := activity()
	to.counter("cambio_store_retries_total", "Transactions that were run again, since nothing of them was committed.", float64(counts.Retries))
	for kind, n := range counts.Errors {
		to.counter("cambio_store_errors_total", "Errors of the database that a caller was told, after retries.", float64(n), "kind", string(kind))
	}
	if counts.Most > 0 {
		to.gauge("cambio_store_connections", "Connections to the database.", float64(counts.Busy), "state", "busy")
		to.gauge("cambio_store_connections", "Connections to the database.", float64(counts.Idle), "state", "idle")
		to.gauge("cambio_store_connections_limit", "Connections that there may be.", float64(counts.Most))
	}
}

// keys tells how many there were when they were last counted.
func (to sink) keys(census *manage.Census) {
	if census == nil {
		return
	}
	last := census.Last()
	if last.At.IsZero() {
		return
	}
	to.gauge("cambio_keys_count_age_seconds", "Since the keys were last counted.", time.Since(last.At).Seconds())
	to.gauge("cambio_keys_count_seconds", "How long that took.", last.Took.Seconds())
	for k, n := range fewKeyspaces(last.Keys) {
		to.gauge("cambio_keys", "Keys that were not deleted.", float64(n), "keyspace", k.Keyspace, "state", k.State)
	}
}

// fewKeyspaces sums up all but the largest, under one name. Its keys have Keys 0.
func fewKeyspaces(counts []manage.KeyCount) map[manage.KeyCount]int64 {
	size := map[string]int64{}
	for _, c := range counts {
		size[c.Keyspace] += c.Keys
	}
	names := slices.SortedFunc(maps.Keys(size), func(a, b string) int {
		return cmp.Or(cmp.Compare(size[b], size[a]), cmp.Compare(a, b))
	})
	if len(names) > maxKeyspaces {
		for _, name := range names[maxKeyspaces:] {
			delete(size, name)
		}
	}
	sums := map[manage.KeyCount]int64{}
	for _, c := range counts {
		if _, told := size[c.Keyspace]; !told {
			c.Keyspace = otherKeyspaces
		}
		n := c.Keys
		c.Keys = 0
		sums[c] += n
	}
	return sums
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
