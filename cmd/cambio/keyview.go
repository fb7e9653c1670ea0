package main

import (
	"strconv"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

func keyRows(keys []wire.Key) [][]string {
	rows := [][]string{{"ID", "START", "KEYSPACE", "OWNER", "NAME", "STATE", "REMAINING", "EXPIRES"}}
	for _, k := range keys {
		rows = append(rows, []string{
			k.ID, k.Start + "…", k.Keyspace, dash(k.Owner), dash(k.Name), showState(k), showRemaining(k), showTime(k.ExpiresAt, "never"),
		})
	}
	return rows
}

func keyPage(k wire.Key) page {
	var out page
	out.line("id", k.ID)
	out.line("start", k.Start+"…")
	out.line("keyspace", k.Keyspace)
	out.line("owner", k.Owner)
	out.line("name", k.Name)
	out.some("external id", k.ExternalID)
	out.line("state", showState(k))
	out.some("reason", k.Reason)
	out.line("permissions", showPermissions(k.Permissions, "none"))
	out.line("audiences", showList(k.Audiences, "any that the client may use"))
	out.line("remaining", showRemaining(k))
	out.line("refill", deref(k.Refill))
	out.some("next refill", showTime(k.RefillAt, ""))
	out.line("rate", deref(k.Rate))
	out.line("created", showTime(k.CreatedAt, "-"))
	out.some("changed", showTime(k.ChangedAt, ""))
	out.line("expires", showTime(k.ExpiresAt, "never"))
	out.some("deleted", showTime(k.DeletedAt, ""))
	out.some("replaces", deref(k.Replaces))
	out.some("replaced by", deref(k.ReplacedBy))
	out.line("metadata", string(k.Metadata))
	out.line("version", strconv.FormatInt(k.Version, 10))
	return out
}

// printKey prints a key as it is now.
func (o output) printKey(p process, key manage.KeyView) error {
	if o.JSON {
		return printJSON(p.stdout, key.Wire())
	}
	return table(p.stdout, keyPage(key.Wire()))
}

// showState counts expiry as a state, which it is to a person.
func showState(k wire.Key) string {
	switch {
	case k.DeletedAt != nil:
		return "deleted"
	case k.Expired && k.State == string(verifier.Active):
		return "expired"
	}
	return k.State
}

func showRemaining(k wire.Key) string {
	if k.Remaining == nil {
		return "no limit"
	}
	return strconv.FormatInt(*k.Remaining, 10)
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
