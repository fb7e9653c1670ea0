package httpapi_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/importer"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// What Better Auth says of a key.
const (
	fine        = "VALID"
	invalidKey  = "INVALID_API_KEY"
	keyDisabled = "KEY_DISABLED"
	keyExpired  = "KEY_EXPIRED"
	notFound    = "KEY_NOT_FOUND" // a permission that is not held
	exceeded    = "USAGE_EXCEEDED"
	limited     = "RATE_LIMITED"
	nothing     = "" // it has nothing of the kind, or nobody has asked it
)

// What we say in its place. A request that makes no sense is no matter of the key.
var sameHere = map[string][]string{
	fine:        {wire.CodeValid},
	invalidKey:  {wire.ReasonUnknown, wire.ReasonWrongKeyspace, wire.ReasonMalformed},
	keyDisabled: {wire.ReasonDisabled},
	keyExpired:  {wire.ReasonExpired},
	notFound:    {wire.ReasonPermission},
	exceeded:    {wire.ReasonSpent},
	limited:     {wire.ReasonRateLimited},
}

const badRequest = "bad request"

// columns of the table apikey.
type columns map[string]any

// scenario is a row of Better Auth's table, and what its key is then told. The clock
// stands at noon when the row is read.
type scenario struct {
	name  string
	row   columns // other than those of a key without limits
	key   string  // empty: 64 letters
	steps []step
	lost  string // why the row is not taken, a part of it; empty: it is
}

// step is one use of the key, or several alike.
type step struct {
	there, here, why      string // here is empty where we say the same
	wait                  time.Duration
	uses                  int
	key                   string // not the row's
	keyspace, permissions string
	cost                  int64
	left                  *int64 // uses that remain afterwards
	metadata              string // told of the key
	only                  string // endpoint
}

func use(there string) step { return step{there: there, uses: 1} }

func (s step) times(n int) step               { s.uses = n; return s }
func (s step) after(d time.Duration) step     { s.wait = d; return s }
func (s step) in(keyspace string) step        { s.keyspace = keyspace; return s }
func (s step) with(key string) step           { s.key = key; return s }
func (s step) asking(permissions string) step { s.permissions = permissions; return s }
func (s step) costing(n int64) step           { s.cost = n; return s }
func (s step) leaving(n int64) step           { s.left = &n; return s }
func (s step) telling(metadata string) step   { s.metadata = metadata; return s }
func (s step) at(endpoint string) step        { s.only = endpoint; return s }

// but says what we do differently, and why.
func (s step) but(here, why string) step { s.here, s.why = here, why; return s }

// The two ways to use a key.
const (
	byVerify = wire.PathVerify
	byToken  = wire.PathToken
)

func TestKeysOfBetterAuthAreToldWhatTheyWereToldThere(t *testing.T) {
	all := slices.Concat(keyScenarios, permissionScenarios, usesScenarios, refillScenarios, rateScenarios, metadataScenarios)
	if len(all) < 100 {
		t.Errorf("only %d scenarios", len(all))
	}
	for _, endpoint := range []string{byVerify, byToken} {
		t.Run(endpoint, func(t *testing.T) {
			r := newReplay(t, endpoint, all)
			for i, s := range all {
				t.Run(s.name, func(t *testing.T) { r.run(t, i, s) })
			}
		})
	}
}

// replay is a server that has the rows of all scenarios.
type replay struct {
	*world
	asker
	endpoint string
	keys     []string
	rows     []importer.Outcome
}

func newReplay(t *testing.T, endpoint string, all []scenario) *replay {
	t.Helper()
	w := newWorld(t)
	r := &replay{world: w, endpoint: endpoint, keys: make([]string, len(all))}
	var table strings.Builder
	for i, s := range all {
		r.keys[i] = cmp.Or(s.key, fmt.Sprintf("QuiteLongKeyOfLettersLikeThoseThatBetterAuthHandsOut%012d", i))
		if len(r.keys[i]) > 20 { // a shorter one could be in a log by chance
			keepSecret(r.keys[i])
		}
		table.WriteString(s.line(i, r.keys[i]) + "\n")
	}
	rules := importer.Rules{Now: noon, PlaintextConfigs: []string{"plain"}}
	_, err := importer.Run(t.Context(), importer.BetterAuth(strings.NewReader(table.String()), rules), w.manage,
		importer.Options{Report: func(o importer.Outcome) { r.rows = append(r.rows, o) }})
	if err != nil {
		t.Fatal(err)
	}
	rights := []client.Right{client.TokensExchange, client.KeysVerify, client.ReasonsRead}
	secret := w.newClient(manage.NewClient{ID: "moved", Rights: rights, Audiences: []string{orders}, Keyspaces: []string{client.AnyKeyspace}})
	w.clientID, w.secret = "moved", secret
	r.asker = asker{w, "moved", secret}
	return r
}

// digestOf is what Better Auth stores of a key.
func digestOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// line is the row as row_to_json writes it.
func (s scenario) line(i int, key string) string {
	c := columns{
		"id": "row_" + strconv.Itoa(i), "configId": "default", "name": "laptop", "start": nil, "referenceId": "user_42", "prefix": nil,
		"key": digestOf(key), "refillInterval": nil, "refillAmount": nil, "lastRefillAt": nil, "enabled": true,
		"rateLimitEnabled": true, "rateLimitTimeWindow": nil, "rateLimitMax": nil, "requestCount": 0, "remaining": nil, "lastRequest": nil,
		"expiresAt": nil, "createdAt": at(0), "updatedAt": at(0), "permissions": nil, "metadata": "null",
	}
	maps.Copy(c, s.row)
	if c["key"] == itself {
		c["key"] = key
	}
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == absent })
	text, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Values of columns that stand for something else.
const (
	absent = "(no such column)"
	itself = "(the key itself)"
)

// at is a time as PostgreSQL writes it, so long after noon.
func at(d time.Duration) string {
	return noon.Add(d).Format("2006-01-02T15:04:05.999999+00:00")
}

func (r *replay) run(t *testing.T, i int, s scenario) {
	if row := r.rows[i]; s.lost != "" || row.Err != nil {
		if row.Err == nil || s.lost == "" || !strings.Contains(row.Err.Error(), s.lost) {
			t.Fatalf("the row: %v, want %q", row.Err, s.lost)
		}
		return
	}
	now := noon
	for n, step := range s.steps {
		now = now.Add(step.wait)
		r.setClock(now)
		if step.only != "" && step.only != r.endpoint || r.endpoint == byToken && !step.inScope() {
			continue
		}
		want := r.want(t, step)
		for range step.uses {
			if got := r.use(t, i, step); !slices.Contains(want, got) {
				t.Errorf("step %d: %s, want %v", n+1, got, want)
			}
		}
		if left := r.remaining(r.rows[i].ID); step.left != nil && left != *step.left {
			t.Errorf("step %d: %d remaining, want %d", n+1, left, *step.left)
		}
	}
}

// want is what may be said, and holds differences to being some, and explained.
func (r *replay) want(t *testing.T, s step) []string {
	t.Helper()
	same := sameHere[s.there]
	switch {
	case s.here == "":
		return same
	case s.why == "", slices.Contains(same, s.here):
		t.Errorf("%s there and %s here is no difference, or has no reason", s.there, s.here)
	}
	return []string{s.here}
}

// use uses a key, and holds refusals to changing nothing.
func (r *replay) use(t *testing.T, i int, s step) string {
	t.Helper()
	before := r.state(t, i)
	said := r.say(t, i, cmp.Or(s.key, r.keys[i]), s)
	if after := r.state(t, i); said != wire.CodeValid && after != before {
		t.Errorf("%s changed the key:\n%s\n%s", said, before, after)
	}
	return said
}

func (r *replay) state(t *testing.T, i int) string {
	t.Helper()
	view, err := r.manage.Key(t.Context(), r.rows[i].ID)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%+v %+v", view.Key, *view.Budget)
}

func (r *replay) say(t *testing.T, i int, key string, s step) string {
	t.Helper()
	if r.endpoint == byToken {
		return r.exchanged(t, key, s)
	}
	said, got := r.verify(key, s.members()...)
	switch {
	case got.code != 200:
		return badRequest
	case said.Valid && (said.Key.ExternalID != "row_"+strconv.Itoa(i) || said.Key.Owner != "user_42"):
		t.Errorf("of another key: %v", got)
	case said.Valid && s.metadata != "" && string(said.Key.Metadata) != s.metadata:
		t.Errorf("metadata %.99s, want %.99s", said.Key.Metadata, s.metadata)
	}
	return said.Code
}

func (s step) members() (more []string) {
	if s.keyspace != "" {
		more = append(more, `"keyspace":`+strconv.Quote(s.keyspace))
	}
	if s.permissions != "" {
		more = append(more, `"permissions":`+s.permissions)
	}
	if s.cost != 0 {
		more = append(more, `"cost":`+strconv.FormatInt(s.cost, 10))
	}
	return more
}

func (r *replay) exchanged(t *testing.T, key string, s step) string {
	t.Helper()
	got := r.exchange(s.form(key))
	switch {
	case got.code == 200:
		if sub := claims(t, got.ok.AccessToken).Subject; sub != "user_42" {
			t.Errorf("sub %q", sub)
		}
		return wire.CodeValid
	case got.err.Error == "invalid_scope":
		return wire.ReasonPermission
	case got.err.Reason == "":
		return badRequest
	}
	return got.err.Reason
}

func (s step) form(key string) url.Values {
	f := form(key, wire.FieldKeyspace, s.keyspace, wire.FieldScope, permission.Scope(s.asked()))
	if s.cost != 0 {
		f.Set(wire.FieldCost, strconv.FormatInt(s.cost, 10))
	}
	return f
}

func (s step) asked() (p verifier.Permissions) {
	_ = json.Unmarshal([]byte(s.permissions), &p) // of none: none
	return p
}

// inScope reports whether a scope can ask for it.
func (s step) inScope() bool {
	asked := s.asked()
	return s.permissions == "" || len(asked) > 0 && permission.Validate(asked) == nil
}

// Better Auth grants 0, 4 or 10 of 10, or 50 of 50.
func TestOfAKeyOfBetterAuthThatManyUseAtOnceAllThatIsLeftIsGranted(t *testing.T) {
	for _, endpoint := range []string{byVerify, byToken} {
		t.Run(endpoint, func(t *testing.T) {
			r := newReplay(t, endpoint, []scenario{{row: columns{"remaining": 10}}})
			var granted, spent atomic.Int64
			var callers sync.WaitGroup
			for range 50 {
				callers.Go(func() {
					switch said := r.say(t, 0, r.keys[0], step{}); said {
					case wire.CodeValid:
						granted.Add(1)
					case wire.ReasonSpent:
						spent.Add(1)
					default:
						t.Error(said)
					}
				})
			}
			callers.Wait()
			if granted.Load() != 10 || spent.Load() != 40 {
				t.Errorf("%d granted, %d refused", granted.Load(), spent.Load())
			}
		})
	}
}
