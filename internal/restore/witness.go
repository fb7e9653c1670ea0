package restore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cambio-auth/cambio/internal/audit"
)

// Errors of Witness.Look: the data is not to be served.
var (
	ErrRestored  = errors.New("the store was restored from a backup, and nobody has confirmed it: run cambio restored")
	ErrBackwards = errors.New("the store has lost what it held before, as after a restore: run cambio restored")
)

// Watched is what a Witness looks at.
type Watched interface {
	Lineage(ctx context.Context) (Lineage, error)
	Audit(ctx context.Context, q audit.Query) ([]audit.Row, error)
}

// Witness remembers how far the data went that it has seen, and so notices when it
// was replaced by older data. It is safe for concurrent use; its zero value has seen
// nothing.
type Witness struct {
	mu   sync.Mutex
	seen Lineage
}

// Look fails with ErrRestored or ErrBackwards, or if it could not look. Data that is
// confirmed later than what was seen is good, and so is what was seen when it is back.
func (w *Witness) Look(ctx context.Context, store Watched) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, err := store.Lineage(ctx)
	switch {
	case err != nil:
		return err
	case now.Why != "":
		return fmt.Errorf("%w: %s", ErrRestored, now.Why)
	case now.Confirmed > w.seen.Confirmed:
		w.seen = now
		return nil
	}
	follows, err := follows(ctx, store, w.seen, now)
	if err != nil {
		return err
	}
	if !follows {
		return fmt.Errorf("%w: it was at revision %d and entry %d, and is at %d and %d",
			ErrBackwards, w.seen.Revision, w.seen.Head.Seq, now.Revision, now.Head.Seq)
	}
	w.seen = now
	return nil
}

// follows reports whether now may be what has become of seen: no count is lower, and
// the log goes on from where it was. A log whose beginning was cut off proves nothing.
func follows(ctx context.Context, store Watched, seen, now Lineage) (bool, error) {
	if now.Confirmed < seen.Confirmed || now.Revision < seen.Revision || now.Head.Seq < seen.Head.Seq {
		return false, nil
	}
	if now.Head.Seq == seen.Head.Seq {
		return now.Head == seen.Head, nil
	}
	if seen.Head.Seq == 0 {
		return true, nil
	}
	rows, err := store.Audit(ctx, audit.Query{After: seen.Head.Seq - 1, Limit: 1})
	if err != nil {
		return false, err
	}
	return len(rows) == 0 || rows[0].Seq != seen.Head.Seq || rows[0].Hash == seen.Head.Hash, nil
}

// Unconfirmed reports whether err says that data is not to be served, not merely that
// it could not be looked at.
func Unconfirmed(err error) bool {
	return errors.Is(err, ErrRestored) || errors.Is(err, ErrBackwards)
}
