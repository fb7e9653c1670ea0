package bench

import (
	"fmt"
	"os"
	"testing"
)

// childEnv makes this binary a server, see serverConfig.
const childEnv = "CAMBIO_BENCH_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench server:", err)
		os.Exit(1)
	}
}
