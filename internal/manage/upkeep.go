package manage

import (
	"context"
	"log/slog"
	"time"
)

// Times and bounds of the upkeep.
const (
	upkeepEvery   = time.Minute
	upkeepTimeout = 30 * time.Second
	forgetAtOnce  = 5_000
)

// RefusalRetention is how long refused authentications are known.
const RefusalRetention = 90 * 24 * time.Hour

// Forgetter forgets what has served its time. Its methods delete at most limit of
// something, and return how many they deleted.
type Forgetter interface {
	// ForgetRepeats forgets what repeats were answered from, when its time is over.
	ForgetRepeats(ctx context.Context, limit int) (int, error)

	// ForgetRefusals forgets refused authentications of hours that began before a
	// time.
	ForgetRefusals(ctx context.Context, before time.Time, limit int) (int, error)
}

// Upkeep has a store forget what has served its time, every minute until ctx ends.
// It may run on several replicas.
func Upkeep(ctx context.Context, store Forgetter, log *slog.Logger) {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		forget(ctx, log, store.ForgetRepeats)
		forget(ctx, log, func(ctx context.Context, limit int) (int, error) {
			return store.ForgetRefusals(ctx, time.Now().Add(-RefusalRetention), limit)
		})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func forget(ctx context.Context, log *slog.Logger, some func(ctx context.Context, limit int) (int, error)) {
	ctx, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	for ctx.Err() == nil {
		n, err := some(ctx, forgetAtOnce)
		if err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "what has served its time is not forgotten", "error", err)
		}
		if err != nil || n < forgetAtOnce {
			return
		}
	}
}
