// Package manage is what operators do to keyspaces, clients and keys. It decides
// what may be created and which changes are allowed, and keeps the log of them; the
// command line and the management API both call it, so neither can do what the other
// may not.
package manage

import (
	"errors"
	"fmt"
)

// Manager manages what a store holds.
type Manager struct {
	store Store
	by    By
}

// New returns a Manager that acts on behalf of an operator.
func New(store Store) *Manager { return &Manager{store: store} }

// ErrInvalid is wrapped by every InvalidError.
var ErrInvalid = errors.New("invalid")

// InvalidError names the field that a caller got wrong. Fields are named as in
// the JSON of the management API.
type InvalidError struct {
	Field  string
	Reason error
}

func (e *InvalidError) Error() string { return fmt.Sprintf("%s: %v", e.Field, e.Reason) }
func (e *InvalidError) Unwrap() []error {
	return []error{ErrInvalid, e.Reason}
}

// fields collects what is wrong, so that a caller learns all of it at once.
type fields []error

func (f *fields) check(field string, err error) {
	if err != nil {
		*f = append(*f, &InvalidError{field, err})
	}
}

func (f fields) err() error { return errors.Join(f...) }
