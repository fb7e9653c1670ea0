package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

func TestLeaksAreRevokedAndNeverRepeated(t *testing.T) {
	w := newWorld(t)
	w.newKeyspace("theirs")
	report := w.manager("scanner", client.LeaksReport)
	id, leaked := w.newKey(manage.NewKey{Owner: "ann"})
	_, foreign := w.newKey(manage.NewKey{Keyspace: "theirs"})
	_, strange := newWorld(t).newKey(manage.NewKey{})
	body, err := json.Marshal(map[string]any{"keys": []string{"hello", leaked, foreign, strange, leaked, ""}, "reason": "found in a public repository"})
	if err != nil {
		t.Fatal(err)
	}
	ours := wire.Leak{Ours: true, KeyID: string(id), Keyspace: "default", Owner: "ann"}
	first := ours
	first.Revoked = true
	for round, want := range [][]wire.Leak{{{}, first, {}, {}, ours, {}}, {{}, ours, {}, {}, ours, {}}} {
		got := report("POST", wire.PathLeaks, string(body))
		if diff := cmp.Diff(want, must[map[string][]wire.Leak](t, got, 200)["results"]); diff != "" {
			t.Errorf("round %d: %s", round+1, diff)
		}
		if strings.Contains(got.body, leaked) || strings.Contains(w.logs.String(), leaked) {
			t.Error("the key is repeated")
		}
	}
	if k, err := w.manage.Key(t.Context(), id); err != nil || k.Key.State != verifier.Revoked || k.Reason != "found in a public repository" {
		t.Errorf("%+v, %v", k, err)
	}
	w.want(w.exchange(form(leaked)), http.StatusBadRequest, "invalid_request")
	wantFields(t, report("POST", wire.PathLeaks, `{"keys":[]}`), 422, "keys")
	wantFields(t, report("POST", wire.PathLeaks, `{"keys":["`+strings.Repeat(`x","`, 100)+`x"]}`), 422, "keys")
	if got := report("POST", wire.PathLeaks, `{"keys":["`+strings.Repeat("x", 60<<10)+`"]}`); got.code != 200 {
		t.Errorf("60 KiB: %v", got)
	}
	wantCode(t, report("POST", wire.PathLeaks, `{"keys":["`+strings.Repeat("x", 64<<10)+`"]}`), http.StatusRequestEntityTooLarge)
}

func TestUsageIsToldInJSONAndCSV(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	const formula = "=HYPERLINK(\"https://evil.example.com\")"
	_, key := w.newKey(manage.NewKey{Owner: formula})
	_, plain := w.newKey(manage.NewKey{Owner: "a,b"})
	w.want(w.exchange(form(key)), http.StatusOK, "")
	w.want(w.exchange(form(key, "cost", "4")), http.StatusOK, "")
	w.want(w.exchange(form(plain)), http.StatusOK, "")

	points := must[map[string][]wire.UsagePoint](t, root("GET", wire.PathUsage, ""), 200)["usage"]
	want := []wire.UsagePoint{{Client: new(w.clientID), Audience: new(orders), Outcome: new("granted"), Requests: 3, Cost: 6}}
	if diff := cmp.Diff(want, points); diff != "" {
		t.Error(diff)
	}
	points = must[map[string][]wire.UsagePoint](t, root("GET", wire.PathUsage+"?by=hour&group=owner", ""), 200)["usage"]
	want = []wire.UsagePoint{{Start: new(noon), Owner: new(formula), Requests: 2, Cost: 5}, {Start: new(noon), Owner: new("a,b"), Requests: 1, Cost: 1}}
	if diff := cmp.Diff(want, points); diff != "" {
		t.Error(diff)
	}
	text := "start,owner,requests,cost\n" +
		"2026-03-10T12:00:00Z,\"'=HYPERLINK(\"\"https://evil.example.com\"\")\",2,5\n" +
		"2026-03-10T12:00:00Z,\"a,b\",1,1\n"
	for _, got := range []reply{
		root("GET", wire.PathUsage+"?by=hour&group=owner&format=csv", "", "Accept", "application/json"),
		root("GET", wire.PathUsage+"?by=hour&group=owner", "", "Accept", "text/csv"),
	} {
		if got.code != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/csv") || got.body != text {
			t.Errorf("%v, want\n%s", got, text)
		}
	}
	if got := root("GET", wire.PathUsage+"?format=json", "", "Accept", "text/csv"); got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%v", got)
	}
	for query, n := range map[string]int{
		"owner=" + url.QueryEscape(formula): 1, "client=nobody": 0, "audience=" + url.QueryEscape(orders): 1, "keyspace=default": 1,
		"from=2026-03-10T13:00:00Z": 0, "to=2026-03-10T13:00:00Z": 1, "group=key,outcome&by=day": 2,
	} {
		if points := must[map[string][]wire.UsagePoint](t, root("GET", wire.PathUsage+"?"+query, ""), 200)["usage"]; len(points) != n {
			t.Errorf("%s: %d points, want %d", query, len(points), n)
		}
	}
	wantFields(t, root("GET", wire.PathUsage+"?by=week&group=key,,&format=xml&from=x&key=ck_1", ""), 400, "by", "group", "format", "from", "key")
	wantFields(t, root("GET", wire.PathUsage+"?from=2026-03-10T13:00:00Z&to=2026-03-10T12:00:00Z", ""), 422, "to")
}

func TestNoCellBeginsAFormula(t *testing.T) {
	for _, start := range []string{"=", "+", "-", "@"} {
		w := newWorld(t)
		_, key := w.newKey(manage.NewKey{Owner: start + "1"})
		w.want(w.exchange(form(key)), http.StatusOK, "")
		if got := w.root()("GET", wire.PathUsage+"?group=owner&format=csv", ""); got.body != "start,owner,requests,cost\n,'"+start+"1,1,1\n" {
			t.Errorf("%v", got)
		}
	}
}
