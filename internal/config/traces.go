package config

import (
	"cmp"
	"errors"
	"net/url"
	"strings"
)

var (
	errTracesURL      = errors.New("must be a URL such as http://127.0.0.1:4318, without a user; headers belong into OTEL_EXPORTER_OTLP_HEADERS")
	errTracesProtocol = errors.New("traces are sent by http/protobuf; leave OTEL_EXPORTER_OTLP_PROTOCOL unset, and name the port for it, mostly 4318")
)

// tracesURL is where the environment has traces sent, as OpenTelemetry's Protocol
// Exporter specification says: one endpoint for everything, below which traces have a
// path, or one for traces alone, as it is. Neither: they are not sent.
func tracesURL(getenv func(string) string) (string, error) {
	alone, all := getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
	if alone == "" && all == "" || strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return "", nil
	}
	protocol := cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	if protocol != "http/protobuf" {
		return "", errTracesProtocol
	}
	u, err := url.Parse(cmp.Or(alone, all))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", errTracesURL
	}
	if alone == "" {
		u = u.JoinPath("v1", "traces")
	}
	return u.String(), nil
}
