package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/verifier"
)

// What can come of an exchange or a verification, beside the reasons of the verifier. Where
// too much has failed, it is still what would have been said otherwise.
const (
	outcomeReplayed       = "replayed" // granted before, and not charged again
	outcomePeeked         = "peeked"   // good, and nobody asked for a charge
	outcomeClient         = "invalid_client"
	outcomeRight          = "no_right"
	outcomeRequest        = "bad_request"
	outcomeUnavailable    = "unavailable"
	outcomeOutcomeUnknown = "outcome_unknown"
	outcomeGone           = "gone" // the caller has left
	outcomeError          = "error"
)

// outcomes lists all that is told apart.
var outcomes = [...]string{
	outcomeError, usage.Granted, outcomeReplayed, outcomePeeked,
	"malformed", "unknown", "wrong_keyspace", "revoked", "disabled", "expired", "audience", "permission", "spent", "rate_limited",
	outcomeClient, outcomeRight, outcomeRequest, outcomeUnavailable, outcomeOutcomeUnknown, outcomeGone,
}

// exchanges counts what came of keys that were presented, at the two endpoints that
// charge.
type exchanges struct{ token, verify [len(outcomes)]atomic.Int64 }

func count(counts *[len(outcomes)]atomic.Int64, outcome string) {
	counts[max(0, slices.Index(outcomes[:], outcome))].Add(1)
}

// exchanged counts a request at the token endpoint, with the status of its answer if
// it was refused.
func (x *exchanges) exchanged(c *call, err error, status int) {
	count(&x.token, outcomeOf(c, err, status))
}

// verified counts a request at /v1/keys/verify.
func (x *exchanges) verified(c *call, err error, status int) {
	count(&x.verify, outcomeOf(c, err, status))
}

func outcomeOf(c *call, err error, status int) string {
	switch {
	case err == nil && c.grant.Replayed:
		return outcomeReplayed
	case err == nil && c.peek:
		return outcomePeeked
	case err == nil:
		return usage.Granted
	case errors.Is(err, exchange.ErrClient):
		return outcomeClient
	case errors.Is(err, exchange.ErrRight):
		return outcomeRight
	case errors.Is(err, verifier.ErrOutcomeUnknown):
		return outcomeOutcomeUnknown
	case errors.Is(err, context.Canceled):
		return outcomeGone
	}
	if reason := verifier.Reason(err); reason != "" {
		return reason
	}
	switch {
	case status == http.StatusServiceUnavailable:
		return outcomeUnavailable
	case status >= http.StatusInternalServerError:
		return outcomeError
	}
	return outcomeRequest
}

var exchangesDesc = prometheus.NewDesc("cambio_exchanges_total",
	"Keys that were presented, by what came of it. Granted ones were charged.", []string{"endpoint", "outcome"}, nil)

// Describe implements prometheus.Collector.
func (x *exchanges) Describe(ch chan<- *prometheus.Desc) { ch <- exchangesDesc }

// Collect implements prometheus.Collector. Zeros are told too, so that the first of a
// kind is seen as an increase.
func (x *exchanges) Collect(ch chan<- prometheus.Metric) {
	for i, outcome := range outcomes {
		ch <- prometheus.MustNewConstMetric(exchangesDesc, prometheus.CounterValue, float64(x.token[i].Load()), "token", outcome)
		ch <- prometheus.MustNewConstMetric(exchangesDesc, prometheus.CounterValue, float64(x.verify[i].Load()), "verify", outcome)
	}
}
