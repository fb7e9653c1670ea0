package main

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

type keyJSON struct {
	ID          verifier.KeyID       `json:"id"`
	Secret      string               `json:"key,omitempty"` // only ever of a new key
	Start       string               `json:"start"`
	Keyspace    string               `json:"keyspace"`
	Owner       string               `json:"owner"`
	Name        string               `json:"name"`
	Permissions verifier.Permissions `json:"permissions"`
	Audiences   []string             `json:"audiences"` // none: any that the client may use
	Metadata    json.RawMessage      `json:"metadata"`
	State       verifier.State       `json:"state"`
	Expired     bool                 `json:"expired"`
	CreatedAt   *time.Time           `json:"created_at"`
	ExpiresAt   *time.Time           `json:"expires_at"` // null: never
	Remaining   *int64               `json:"remaining"`  // null: no limit
	Refill      *string              `json:"refill"`
	RefillAt    *time.Time           `json:"refill_at"`
	Rate        *string              `json:"rate"`
}

func viewKey(v manage.KeyView) keyJSON {
	view := keyJSON{
		ID:          v.Key.ID,
		Start:       v.Key.Start,
		Keyspace:    v.Key.Keyspace,
		Owner:       v.Key.Owner,
		Name:        v.Key.Name,
		Permissions: v.Key.Permissions,
		Audiences:   orEmpty(v.Key.Audiences),
		Metadata:    v.Key.Metadata,
		State:       v.Key.State,
		Expired:     v.Expired(),
		CreatedAt:   instant(v.Key.CreatedAt),
		ExpiresAt:   instant(v.Key.ExpiresAt),
		Refill:      orNull(v.Budget.Refill.String()),
		RefillAt:    instant(v.Budget.RefillAt(v.At)),
		Rate:        orNull(v.Budget.Rate.String()),
	}
	if view.Permissions == nil {
		view.Permissions = verifier.Permissions{}
	}
	if v.Budget.Counted {
		view.Remaining = &v.Budget.Remaining
	}
	return view
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func keyRows(keys []manage.KeyView) [][]string {
	rows := [][]string{{"ID", "START", "KEYSPACE", "OWNER", "NAME", "STATE", "REMAINING", "EXPIRES"}}
	for _, key := range keys {
		v := viewKey(key)
		rows = append(rows, []string{
			string(v.ID), v.Start + "…", v.Keyspace, dash(v.Owner), dash(v.Name), showState(v), showRemaining(v), showTime(v.ExpiresAt, "never"),
		})
	}
	return rows
}

func keyPage(key manage.KeyView) page {
	v := viewKey(key)
	var out page
	out.line("id", string(v.ID))
	out.line("start", v.Start+"…")
	out.line("keyspace", v.Keyspace)
	out.line("owner", v.Owner)
	out.line("name", v.Name)
	out.line("state", showState(v))
	out.line("permissions", showPermissions(v.Permissions, "none"))
	out.line("audiences", showList(v.Audiences, "any that the client may use"))
	out.line("remaining", showRemaining(v))
	out.line("refill", key.Budget.Refill.String())
	if v.RefillAt != nil {
		out.line("next refill", showTime(v.RefillAt, ""))
	}
	out.line("rate", key.Budget.Rate.String())
	out.line("created", showTime(v.CreatedAt, "-"))
	out.line("expires", showTime(v.ExpiresAt, "never"))
	out.line("metadata", string(v.Metadata))
	return out
}

// showState counts expiry as a state, which it is to a person.
func showState(v keyJSON) string {
	if v.Expired && v.State == verifier.Active {
		return "expired"
	}
	return string(v.State)
}

func showRemaining(v keyJSON) string {
	if v.Remaining == nil {
		return "no limit"
	}
	return strconv.FormatInt(*v.Remaining, 10)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
