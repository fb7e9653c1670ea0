//go:build !linux && !darwin

package main

import "io/fs"

// ours is not known here, so the stricter rule holds.
func ours(fs.FileInfo) bool { return true }
