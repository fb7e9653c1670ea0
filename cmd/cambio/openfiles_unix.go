//go:build linux || darwin

package main

import "syscall"

// openFiles returns how many files this process may have open. The runtime of Go has
// raised that as far as it goes.
func openFiles() (uint64, error) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return limit.Cur, err
}
