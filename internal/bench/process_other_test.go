//go:build !unix

package bench

import (
	"errors"
	"time"
)

func process() (cpu time.Duration, resident int64, err error) {
	return 0, 0, errors.New("the CPU time of a process is read on Unix only")
}
