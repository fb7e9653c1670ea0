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

// Forgetter forgets what repeats were answered from, when its time is over.
type Forgetter interface {
	// ForgetRepeats deletes at most limit of them, and returns how many it deleted.
	ForgetRepeats(ctx context.Context, limit int) (int, error)
}

// Upkeep has a store forget what has served its time, every minute until ctx ends.
// It may run on several replicas.
func Upkeep(ctx context.Context, store Forgetter, log *slog.Logger) {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		forget(ctx, store, log)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func forget(ctx context.Context, store Forgetter, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	for ctx.Err() == nil {
		n, err := store.ForgetRepeats(ctx, forgetAtOnce)
		if err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "old idempotency keys not forgotten", "error", err)
		}
		if err != nil || n < forgetAtOnce {
			return
		}
	}
}
