package sdk

import "log/slog"

const redacted = "[redacted]"

// Secret holds a client's secret and does not print it, not even from an
// unexported field of another struct.
type Secret struct{ v *string }

// NewSecret wraps a secret.
func NewSecret(s string) Secret { return Secret{&s} }

func (s Secret) reveal() string {
	if s.v == nil {
		return ""
	}
	return *s.v
}

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
