package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

// odd is text that must come out of every format as it went in.
const odd = `<b>&"';=1+1,x`

func TestAChangeIsLoggedWithWhoMadeItFromWhereAndWhy(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	id, _ := w.newKey(manage.NewKey{Name: odd})
	wantCode(t, root("POST", wire.PathKeys+"/"+string(id)+"/disable", `{"reason":"ticket 1"}`), 200)
	line := w.lastLine()
	page := must[wire.AuditPage](t, root("GET", wire.PathAudit+"?limit=1", ""), 200)
	var entry struct {
		audit.Entry
		Hash string `json:"hash"`
	}
	if err := json.Unmarshal(page.Entries[0], &entry); err != nil {
		t.Fatal(err)
	}
	want := audit.Entry{
		Seq: entry.Seq, At: noon, Actor: audit.Actor{Kind: "client", ID: "root", From: "192.0.2.1"},
		Action: "key.disable", Target: string(id), Keyspace: "default", Reason: "ticket 1", Before: entry.Before, After: entry.After,
	}
	if diff := cmp.Diff(want, entry.Entry); diff != "" || !bytes.Contains(entry.After, []byte(`"disabled"`)) {
		t.Errorf("%s %s", diff, entry.After)
	}
	checkLine(t, line, map[string]any{
		"level": "INFO", "msg": "managed", "route": "POST /v1/keys/:id/disable", "status": 200.0, "client": "root", "remote": "192.0.2.1",
		"target": string(id), "audit_seq": float64(entry.Seq), "audit_hash": entry.Hash,
	})
	if head := w.logged(); head.String() != fmt.Sprint(entry.Seq, ":", entry.Hash) {
		t.Errorf("the log ends with %s", head)
	}
	wantCode(t, root("GET", wire.PathKeys, ""), 200)
	checkLine(t, w.lastLine(), map[string]any{"level": "INFO", "msg": "managed", "route": "GET /v1/keys", "status": 200.0, "client": "root", "remote": "192.0.2.1"})
}

func TestOfARefusalTheLogTellsTheRouteAndNotWhatWasInIt(t *testing.T) {
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{})
	root := w.root()
	for _, path := range []string{wire.PathKeys + "/" + key, wire.PathClients + "/" + key, wire.PathKeyspaces + "/" + key, wire.PathUsage + "?key=" + key, wire.PathKeys + "?after=" + key + "&" + key + "=1"} {
		if got := root("GET", path, ""); got.code != 404 && got.code != 400 {
			t.Errorf("%s: %v", path, got)
		}
	}
	wantFields(t, root("POST", wire.PathKeys, `{"`+key+`":1}`), 400, key)
	wantCode(t, root("POST", wire.PathKeys, `{"owner":"key_`+key+`"}`), 422)
	if strings.Contains(w.logs.String(), key) {
		t.Error("a key is in the log")
	}
	if line := w.lastLine(); line["route"] != "POST /v1/keys" || line["status"] != 422.0 || line["msg"] != "refused" {
		t.Errorf("%v", line)
	}
}

func TestTheLogIsReadByPagesAndNarrowed(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	w.newKeyspace("shop")
	for range 5 {
		w.newKey(manage.NewKey{Keyspace: "shop"})
	}
	seqs := func(page wire.AuditPage) (all []int64) {
		for _, e := range page.Entries {
			var entry audit.Entry
			if err := json.Unmarshal(e, &entry); err != nil {
				t.Fatal(err)
			}
			all = append(all, entry.Seq)
		}
		return all
	}
	last := w.logged().Seq
	for _, order := range []string{"newest", "oldest"} {
		var got []int64
		path := wire.PathAudit + "?limit=2&order=" + order
		for path != "" {
			answer := root("GET", path, "")
			page := must[wire.AuditPage](t, answer, 200)
			got = append(got, seqs(page)...)
			link, _, more := strings.Cut(strings.TrimPrefix(answer.header.Get("Link"), "<?"), ">")
			if path = ""; more {
				path = wire.PathAudit + "?" + link
			}
			if more != (page.Next != nil) || len(page.Entries) == 0 {
				t.Fatalf("%v", answer)
			}
		}
		for i := range got {
			want := int64(i + 1)
			if order == "newest" {
				want = last - int64(i)
			}
			if got[i] != want {
				t.Fatalf("%s: %v", order, got)
			}
		}
		if int64(len(got)) != last {
			t.Errorf("%d entries of %d", len(got), last)
		}
	}
	for query, want := range map[string]int{
		"keyspace=shop": 6, "action=key": 5, "action=key.create&keyspace=default": 0, "target=root": 1, "actor=root": 0,
		"after=" + fmt.Sprint(last-2): 2, "before=3": 2, "from=2026-03-10T12:00:00Z&to=2026-03-10T12:00:01Z": int(last), "to=2026-03-10T12:00:00Z": 0,
	} {
		if page := must[wire.AuditPage](t, root("GET", wire.PathAudit+"?"+query, ""), 200); len(page.Entries) != want {
			t.Errorf("%s: %d entries, want %d", query, len(page.Entries), want)
		}
	}
	wantFields(t, root("GET", wire.PathAudit+"?from=2026-03-10T12:00:00Z&to=2026-03-10T12:00:00Z", ""), 422, "to")
	wantFields(t, root("GET", wire.PathAudit+"?after=-1&order=up&from=now", ""), 400, "after", "order", "from")
}

// verifiedLines reads an answer of JSON lines, and holds each to the hash before it.
func verifiedLines(t *testing.T, body io.Reader) int {
	t.Helper()
	var before [sha256.Size]byte
	n := 0
	for lines := bufio.NewScanner(body); lines.Scan(); n++ {
		entry, hash, ok := bytes.Cut(lines.Bytes(), []byte(`,"hash":"`))
		sum := sha256.New()
		sum.Write(before[:])
		sum.Write(append(bytes.Clone(entry), '}'))
		before = [sha256.Size]byte(sum.Sum(nil))
		if got := base64.RawURLEncoding.EncodeToString(before[:]); !ok || string(hash) != got+`"}` {
			t.Fatalf("line %d: %s is not of hash %s", n+1, lines.Bytes(), got)
		}
	}
	return n
}

func TestTheWholeLogComesAsLinesThatProveThemselves(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	w.newKey(manage.NewKey{Name: odd, Owner: odd})
	w.manyEntries(2100)
	got := root("GET", wire.PathAudit+"?order=oldest", "", "Accept", wire.MediaLines)
	if got.code != 200 || got.header.Get("Content-Type") != wire.MediaLines {
		t.Fatalf("%d %v", got.code, got.header)
	}
	if n := verifiedLines(t, strings.NewReader(got.body)); int64(n) != w.logged().Seq {
		t.Errorf("%d lines of %d entries", n, w.logged().Seq)
	}
	for limit, want := range map[int]int{1: 1, 1000: 1000} {
		got := root("GET", fmt.Sprint(wire.PathAudit, "?limit=", limit), "", "Accept", wire.MediaLines)
		if n := strings.Count(got.body, "\n"); n != want {
			t.Errorf("%d lines, want %d", n, want)
		}
	}
	newest := root("GET", wire.PathAudit, "", "Accept", wire.MediaLines)
	if n := strings.Count(newest.body, "\n"); int64(n) != w.logged().Seq || !strings.HasPrefix(newest.body, fmt.Sprintf(`{"seq":%d,`, n)) {
		t.Errorf("%d lines, newest first: %.80s", n, newest.body)
	}
}

// manyEntries fills the log.
func (w *world) manyEntries(n int) {
	w.t.Helper()
	w.change(func(ctx context.Context, tx manage.Tx) error {
		for range n {
			if _, err := tx.Log(ctx, audit.Entry{Actor: audit.Actor{Kind: audit.KindServer}, Action: "test", Target: odd + "\u2028\n"}); err != nil {
				return err
			}
		}
		return nil
	})
}

// brokenLog fails from its second page on.
type brokenLog struct {
	manage.Store
	mu    sync.Mutex
	pages int
}

func (s *brokenLog) Audit(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pages++; s.pages > 1 {
		return nil, fmt.Errorf("no route")
	}
	return s.Store.Audit(ctx, q)
}

func TestHalfOfALogDoesNotPassForAWholeOne(t *testing.T) {
	w := newWorld(t)
	secret := w.newClient(manage.NewClient{ID: "auditor", Rights: []client.Right{client.AuditRead}, Keyspaces: []string{"*"}})
	w.manyEntries(1500)
	cfg := w.config(w.store)
	cfg.Manage = manage.New(&brokenLog{Store: w.store})
	server, err := newServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(server.Public())
	defer srv.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+wire.PathAudit, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", wire.MediaLines)
	r.SetBasicAuth("auditor", secret)
	res, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("%d bytes, and no error", len(body))
	}
	if !strings.Contains(w.logs.String(), "cut off") {
		t.Error("and the log does not tell")
	}
}

func TestRefusedAuthenticationsAreCountedAtEveryEndpoint(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	try := func(method, path, id, secret, remote string) {
		r := w.post(url.Values{wire.FieldToken: {"x"}}.Encode())
		r.Method, r.URL.Path, r.RemoteAddr = method, path, net.JoinHostPort(remote, "1")
		r.SetBasicAuth(id, keepSecret(secret))
		if rec := w.serve(r); rec.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	for _, path := range []string{wire.PathToken, wire.PathIntrospect, wire.PathRevoke} {
		try("POST", path, w.clientID, "a wrong secret", "192.0.2.7")
	}
	try("GET", wire.PathKeys, w.clientID, "a wrong secret", "192.0.2.7")
	try("GET", wire.PathKeys, "stranger-4711", "a wrong secret", "192.0.2.7")
	try("GET", wire.PathKeys, w.secret, "a wrong secret", "2001:db8::1")
	nobody := httptest.NewRequest("GET", wire.PathKeys, nil)
	wantCode(t, w.managed(nobody), http.StatusUnauthorized)

	ctx, stop := context.WithCancel(t.Context())
	stop()
	w.refusals.Run(ctx)
	got := root("GET", wire.PathRefusals+"?from=2026-03-10T12:00:00Z&to=2026-03-10T13:00:00Z&limit=10", "")
	want := []wire.Refusal{
		{Hour: noon, Client: w.clientID, Remote: "192.0.2.7", Attempts: 4, LastAt: noon},
		{Hour: noon, Client: "", Remote: "192.0.2.1", Attempts: 1, LastAt: noon},
		{Hour: noon, Client: "", Remote: "192.0.2.7", Attempts: 1, LastAt: noon},
		{Hour: noon, Client: "", Remote: "2001:db8::1", Attempts: 1, LastAt: noon},
	}
	if diff := cmp.Diff(want, must[map[string][]wire.Refusal](t, got, 200)["refusals"]); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(got.body, "stranger") {
		t.Error("what a stranger says of itself is kept")
	}
	if page := must[map[string][]wire.Refusal](t, root("GET", wire.PathRefusals+"?to=2026-03-10T12:00:00Z", ""), 200); len(page["refusals"]) != 0 {
		t.Errorf("%v", page)
	}
	wantFields(t, root("GET", wire.PathRefusals+"?limit=0&from=x", ""), 400, "limit", "from")
}
