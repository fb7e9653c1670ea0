// Command cambio exchanges long-lived API keys for short-lived signed tokens.
// It serves the exchange, and creates and changes keys and clients on the store
// directly, also while a server runs on it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(start(os.Args[1:], thisProcess())) }

func start(args []string, p process) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on a second signal ends the process at once
	return run(ctx, args, p)
}
