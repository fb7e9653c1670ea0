package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// call is what the log will say of one exchange. It never holds a secret.
type call struct {
	began  time.Time
	remote string
	route  string           // of the management API
	client *exchange.Caller // nil: not authenticated
	asked  []string         // targets
	grant  verifier.Grant
	kid    string
	jti    string
	tried  tried
	peek   bool // nothing was to be charged
}

func (c *call) mayKnowReasons() bool {
	return c.client != nil && c.client.Holds(client.ReasonsRead)
}

func (s *Server) logExchanged(ctx context.Context, c *call) {
	s.log.LogAttrs(ctx, slog.LevelInfo, "exchanged", append(c.granted(), slog.String("kid", c.kid), slog.String("jti", c.jti))...)
}

// logVerified tells the outcome, also where the caller may not know.
func (s *Server) logVerified(ctx context.Context, c *call, refusal error) {
	outcome := wire.CodeValid
	if refusal != nil {
		outcome = verifier.Reason(refusal)
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "verified", append(c.granted(), slog.String("outcome", outcome))...)
}

// granted is what the log says of a key that was looked at.
func (c *call) granted() []slog.Attr {
	attrs := append(make([]slog.Attr, 0, 8), // with room for what is only sometimes said
		slog.String("key_id", string(c.grant.KeyID)),
		slog.String("client", c.client.ID),
		slog.String("audience", c.grant.Audience),
		slog.Duration("duration", time.Since(c.began)),
		slog.String("remote", c.remote),
	)
	if c.grant.Replayed {
		attrs = append(attrs, slog.Bool("replayed", true))
	}
	return attrs
}

// logRefused tells the reason that the caller may not know. Of what the caller
// sent it repeats only what we have on record.
func (s *Server) logRefused(ctx context.Context, c *call, a answer, err error) {
	s.countRefused(c, err)
	var over *tooManyError
	if errors.As(err, &over) {
		return // counted, and logged with the others
	}
	attrs := []slog.Attr{
		slog.String("outcome", a.body.Error),
		slog.Int("status", a.status),
		slog.Duration("duration", time.Since(c.began)),
		slog.String("remote", c.remote),
	}
	if c.route != "" {
		attrs = append(attrs, slog.String("route", c.route))
	}
	if c.grant.KeyID != "" {
		attrs = append(attrs, slog.String("key_id", string(c.grant.KeyID)))
	}
	if a.reason != "" {
		attrs = append(attrs, slog.String("reason", a.reason))
	}
	var mistake *requestError
	if errors.As(err, &mistake) {
		attrs = append(attrs, slog.String("detail", mistake.description))
	}
	var stranger *exchange.ClientError
	switch {
	case errors.As(err, &stranger) && stranger.Known != "":
		attrs = append(attrs, slog.String("claimed_client", stranger.Known))
	case c.client != nil:
		attrs = append(attrs, slog.String("client", c.client.ID))
		if len(c.asked) == 1 && slices.Contains(c.client.Audiences, c.asked[0]) {
			attrs = append(attrs, slog.String("audience", c.asked[0]))
		}
	}
	level := slog.LevelInfo
	hungUp := errors.Is(err, context.Canceled) && !errors.Is(err, verifier.ErrOutcomeUnknown)
	if a.status >= 500 && !hungUp {
		level = slog.LevelError
		attrs = append(attrs, slog.Any("err", err))
	}
	s.log.LogAttrs(ctx, level, "refused", attrs...)
}

// countRefused keeps count of refused authentications, for the audit.
func (s *Server) countRefused(c *call, err error) {
	parts := s.parts.Load()
	if parts == nil || parts.Refusals == nil || !errors.Is(err, exchange.ErrClient) {
		return
	}
	var stranger *exchange.ClientError
	known := ""
	if errors.As(err, &stranger) {
		known = stranger.Known
	}
	parts.Refusals.Refused(known, c.remote)
}
