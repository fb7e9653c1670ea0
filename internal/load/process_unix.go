//go:build unix

package load

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"time"
)

// process returns the CPU time of this process, and its resident memory where
// the system tells it.
func process() (cpu time.Duration, resident int64, err error) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, 0, err
	}
	cpu = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return cpu, 0, nil //nolint:nilerr // no such file where it is not Linux
	}
	_, rest, found := bytes.Cut(status, []byte("VmRSS:"))
	if found {
		_, err = fmt.Fscan(bytes.NewReader(rest), &resident)
	}
	return cpu, resident << 10, err
}
