//go:build linux || darwin

package main

import "syscall"

// diskSpace returns how many bytes of the file system of dir are free for us, and how
// many it has.
func diskSpace(dir string) (free, all uint64, err error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, 0, err
	}
	size := uint64(fs.Bsize)
	return fs.Bavail * size, fs.Blocks * size, nil
}
