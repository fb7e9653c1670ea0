package issuer

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Timetable is what a Keyring knows of its keys without asking the store.
type Timetable struct {
	Now  time.Time     // by the database's clock, as far as we know
	Keys []KeyView     // by algorithm, oldest first; those that are long gone left out
	Age  time.Duration // since the store was last looked at
}

// Timetable returns the keys as they were last seen, in their states of now.
func (k *Keyring) Timetable() Timetable {
	r := k.ring.Load()
	if r == nil {
		return Timetable{}
	}
	t := Timetable{Now: k.now(), Age: k.cfg.Now().Sub(r.seen)}
	for _, algorithm := range Algorithms() {
		t.Keys = append(t.Keys, viewsOf(r.keys[algorithm], t.Now)...)
	}
	return t
}

// Ready fails if a key of some enabled algorithm cannot sign now: with
// ErrNoSigningKey if there is none, or with what went wrong when it was tried.
func (k *Keyring) Ready() error {
	var errs []error
	for _, algorithm := range k.cfg.Algorithms {
		key, err := k.active(algorithm, k.now())
		if err == nil {
			_, err = key.signature([]byte("ready?"))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("signing %s: %w", algorithm, err))
		}
	}
	return errors.Join(errs...)
}

// StatusHealth is how well StatusLists follow their store.
type StatusHealth struct {
	Lists    int
	Revision int64         // of the last change that is known
	Age      time.Duration // since the store last answered; it is asked only when somebody asks for a list
}

// Health returns how things stand, without asking the store.
func (l *StatusLists) Health() StatusHealth {
	l.mu.Lock()
	defer l.mu.Unlock()
	return StatusHealth{Lists: len(l.lists), Revision: l.revision, Age: time.Since(l.asOf)}
}

// Ready asks the store, unless it has just answered, and fails with
// ErrStatusesUnknown if what is known is older than any list that a checker could
// still hold.
func (l *StatusLists) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	err := l.follow(ctx)
	if age := l.Health().Age; err != nil && age > statusListLife {
		return fmt.Errorf("no answer for %s: %w", age.Round(time.Second), err)
	}
	return nil
}
