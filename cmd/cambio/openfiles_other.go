//go:build !linux && !darwin

package main

import "errors"

// openFiles is not known here.
func openFiles() (uint64, error) { return 0, errors.ErrUnsupported }
