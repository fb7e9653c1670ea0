package manage

import (
	"context"
	"errors"
	"fmt"

	"github.com/cambio-auth/cambio/internal/usage"
)

// Usage tells who used what: totals, or a series by hour or day. It fails with
// InvalidErrors.
func (m *Manager) Usage(ctx context.Context, q usage.Query) ([]usage.Point, error) {
	var bad fields
	if q.By != usage.Total && q.By != usage.Hour && q.By != usage.Day {
		bad.check("by", fmt.Errorf("%.40q is not hour or day", string(q.By)))
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		bad.check("to", errors.New("must be after from"))
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	return m.store.Usage(ctx, q)
}
