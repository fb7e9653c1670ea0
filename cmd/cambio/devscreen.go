package main

import (
	"fmt"
	"strings"

	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// demo is what cambio dev has set up. It holds no secret.
type demo struct {
	Issuer        string         `json:"issuer"`
	ClientID      string         `json:"client_id"`
	KeyID         verifier.KeyID `json:"key_id"`
	Backend       string         `json:"backend"`
	Audience      string         `json:"audience"`
	Ops           string         `json:"ops"`
	Store         string         `json:"store"`
	TokenLifetime int64          `json:"token_lifetime"` // seconds

	name string // the command that the user calls
}

// step is something to try.
type step struct {
	Title   string `json:"title"`
	Command string `json:"command"`
}

// revealed is a demo with its secrets, for the one place that shows them.
type revealed struct {
	demo
	ClientSecret string `json:"client_secret"`
	Key          string `json:"key"`
	Steps        []step `json:"steps"`
}

func (d demo) reveal(s secrets) revealed {
	return revealed{d, s.client.Reveal(), s.key.Reveal(), d.steps(s)}
}

func (d demo) steps(s secrets) []step {
	form := strings.Join([]string{
		"curl -sS -u " + d.ClientID + ":" + s.client.Reveal() + " " + d.Issuer + wire.PathToken,
		"-d grant_type=" + wire.GrantTokenExchange,
		"-d subject_token_type=" + wire.TypeAPIKey,
		"-d audience=" + d.Audience,
		"-d subject_token=" + s.key.Reveal(),
	}, " \\\n  ")
	resource := d.Backend + "/projects"
	return []step{
		{
			fmt.Sprintf("Exchange the key for a token. This is one use; the token lives %d s.", d.TokenLifetime),
			`TOKEN=$(` + form + ` | sed 's/.*"access_token":"\([^"]*\)".*/\1/'); echo "$TOKEN"`,
		},
		{
			"Call the backend with the token. It checks it offline.",
			`curl -si -H "Authorization: Bearer $TOKEN" ` + resource,
		},
		{
			"Call it with the key itself. It exchanges it at first sight, and then remembers.",
			`curl -si -H "X-API-Key: ` + s.key.Reveal() + `" ` + resource,
		},
		{
			"See what remains of the key.",
			d.name + " key show " + string(d.KeyID) + " --store " + quote(d.Store),
		},
		{
			"Revoke the key.",
			d.name + " key revoke " + string(d.KeyID) + " --store " + quote(d.Store),
		},
		{
			"Exchange it again. It is refused at once.",
			form,
		},
	}
}

const screenHead = `
Cambio is running on a throwaway store. Ctrl-C ends it and deletes everything.

  server     %s
  backend    %s/projects   needs projects:read
  key        %s…   of user_42, holds projects:read, 100 uses
  store      %s

Paste into another terminal, one after the other:
`

const screenTail = `
Then repeat 2 and 3. The backend follows the server's status lists, so both are
refused within %s of step 5, also where their tokens have not expired.

Secrets stand on command lines here because they die with this demo. Every user
of a machine can read those of all others: keep real ones out of them.

`

// screen is the main job on one screen.
func (d demo) screen(s secrets) string {
	var b strings.Builder
	start := s.key.Reveal()
	fmt.Fprintf(&b, screenHead, d.Issuer, d.Backend, start[:min(7, len(start))], d.Store)
	for i, step := range d.steps(s) {
		fmt.Fprintf(&b, "\n# %d. %s\n%s\n", i+1, step.Title, step.Command)
	}
	fmt.Fprintf(&b, screenTail, issuer.StatusDelay)
	return b.String()
}
