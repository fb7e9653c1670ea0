package manage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cambio-auth/cambio/internal/usage"
)

// MaxPoints is how many points an answer about usage holds.
const MaxPoints = 100_000

// Usage tells who used what: totals, or a series by hour or day. A client sees what
// was used of its keyspaces. It fails with InvalidErrors, also for more than MaxPoints
// points.
func (m *Manager) Usage(ctx context.Context, q usage.Query) ([]usage.Point, error) {
	var bad fields
	if q.By != usage.Total && q.By != usage.Hour && q.By != usage.Day {
		bad.check("by", fmt.Errorf("%.40q is not hour or day", string(q.By)))
	}
	for _, d := range q.Group {
		if !slices.Contains(usage.Dimensions(), d) {
			bad.check("group", fmt.Errorf("%.40q is not one of key, owner, keyspace, client, audience, outcome", string(d)))
		}
	}
	if err := errors.Join(bad.err(), span(q.From, q.To)); err != nil {
		return nil, err
	}
	var some bool
	if q.Keyspaces, some = m.by.within(q.Keyspaces); !some {
		return []usage.Point{}, nil
	}
	q.Limit = MaxPoints + 1
	points, err := m.store.Usage(ctx, q)
	if err == nil && len(points) > MaxPoints {
		err = &InvalidError{"group", fmt.Errorf("gives more than %d lines: narrow from and to, or group by less", MaxPoints)}
	}
	return points, err
}
