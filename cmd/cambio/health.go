package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

type healthCmd struct {
	output    `embed:""`
	OpsListen string `placeholder:"ADDR" env:"CAMBIO_OPS_LISTEN" default:"127.0.0.1:9090" help:"Where the server's health is served. Default: 127.0.0.1:9090."`
}

func (*healthCmd) Help() string {
	return `Asks a running server whether it is ready, and exits with 0 if it is, else with 1. With --json it prints {"ready":true}. For containers, which have no curl.

Example:

    cambio health && echo ready`
}

var errNotReady = errors.New("not ready")

func (c *healthCmd) Run(ctx context.Context, p process) error {
	answer, err := askReady(ctx, c.OpsListen)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotReady, err)
	}
	if answer.code != http.StatusOK {
		return fmt.Errorf("%w: the server answers %s", errNotReady, answer.status)
	}
	if c.JSON {
		return printJSON(p.stdout, map[string]bool{"ready": true})
	}
	_, err = fmt.Fprintln(p.stdout, "ready")
	return err
}

// readiness is what a server says of itself.
type readiness struct {
	code   int
	status string
}

// askReady asks the server whose health is served at addr. It fails if none answers.
func askReady(ctx context.Context, addr string) (readiness, error) {
	const patience = 4 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return readiness{}, &usageError{fmt.Errorf("CAMBIO_OPS_LISTEN: %w", err)}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return readiness{}, err
	}
	_ = resp.Body.Close()
	return readiness{resp.StatusCode, resp.Status}, nil
}
