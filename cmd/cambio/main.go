// Command cambio exchanges long-lived API keys for short-lived signed tokens.
// It serves the exchange, and creates and changes keys and clients on the store
// directly, also while a server runs on it.
package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	forgetEmpty(os.Environ())
	os.Exit(start(os.Args[1:], thisProcess()))
}

// forgetEmpty makes a setting that is set but empty one that is not set, as
// compose files leave them.
func forgetEmpty(environ []string) {
	for _, pair := range environ {
		if name, value, _ := strings.Cut(pair, "="); value == "" && strings.HasPrefix(name, "CAMBIO_") {
			_ = os.Unsetenv(name) // fails only for names that cannot be set
		}
	}
}

func start(args []string, p process) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on a second signal ends the process at once
	return run(ctx, args, p)
}
