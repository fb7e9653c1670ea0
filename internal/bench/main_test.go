package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"testing"

	"github.com/cambio-auth/cambio/internal/load"
)

// childEnv makes this binary a server, and is its name.
const childEnv = "CAMBIO_BENCH_SERVER"

func TestMain(m *testing.M) {
	name := os.Getenv(childEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := serve(name, os.Getenv("CAMBIO_BENCH_PROFILE")); err != nil {
		fmt.Fprintf(os.Stderr, "the server %s: %v\n", name, err)
		os.Exit(1)
	}
}

// serve is a server that leaves its profiles in dir, unless that is empty.
func serve(name, dir string) (err error) {
	if dir != "" {
		stop, err := profile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	return load.Serve(os.Stdin, os.Stdout)
}

// profile writes AT.cpu and AT.allocs when it is stopped.
func profile(at string) (stop func() error, err error) {
	runtime.MemProfileRate = 64 << 10
	cpu, err := os.Create(at + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		allocs, err := os.Create(at + ".allocs")
		if err != nil {
			return err
		}
		return errors.Join(cpu.Close(), pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close())
	}, nil
}
