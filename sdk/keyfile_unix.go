//go:build unix

package sdk

import (
	"io/fs"
	"os"
	"syscall"
)

// isOurs reports whether nobody may write the file but us and root.
func isOurs(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().Perm()&0o022 == 0 && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid())
}
