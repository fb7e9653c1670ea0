package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/manage"
)

// welcome gives an operator a first client, on a store that has none. Its secret
// goes to a person's terminal only: what a service prints is kept in journals,
// for years and many readers. There, the command that makes one is told.
func welcome(ctx context.Context, p process, cfg config.Config, db manage.Store, log *slog.Logger) error {
	m := manage.New(db).As(p.by("the first client of a new store"))
	clients, err := m.Clients(ctx)
	if err != nil || len(clients) > 0 {
		return err
	}
	if !p.terminal {
		log.WarnContext(ctx, "there is no client yet, so nobody can call this server", "make_one_with", adminCommand(cfg.Store))
		return nil
	}
	admin, err := m.CreateClient(ctx, manage.NewClient{
		ID:        "admin",
		Rights:    client.Rights(),
		Audiences: []string{client.AnyAudience},
		Keyspaces: []string{client.AnyKeyspace},
	})
	if errors.Is(err, manage.ErrExists) { // another server was first
		return nil
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, `
This store had no client. Here is one with every right; its secret is shown this
once and is not to be had again:

  client_id      %s
  client_secret  %s

`, admin.ID, admin.Secret.Reveal())
	return err
}

// adminCommand names the store only where its URL cannot hold a password.
func adminCommand(url string) string {
	var command strings.Builder
	command.WriteString("cambio client create admin --keyspace '*' --audience '*' --right ")
	for i, r := range client.Rights() {
		if i > 0 {
			command.WriteString(",")
		}
		command.WriteString(string(r))
	}
	if _, ok := sqlitePath(url); ok {
		command.WriteString(" --store " + quote(url))
	}
	return command.String()
}

// quote makes one word of s for a POSIX shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./:@%+=,-", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
