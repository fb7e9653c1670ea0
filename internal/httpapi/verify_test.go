package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// asker sends requests to verify keys, as a client of its own.
type asker struct {
	*world
	id, secret string
}

// verifying makes a client that may verify keys, with these rights more.
func (w *world) verifying(id string, more ...client.Right) asker {
	w.t.Helper()
	return asker{w, id, w.newClient(manage.NewClient{ID: id, Rights: append(more, client.KeysVerify)})}
}

func (c asker) request(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, wire.PathVerify, strings.NewReader(body))
	r.Header.Set("Content-Type", wire.MediaJSON)
	r.SetBasicAuth(c.id, c.secret)
	return r
}

// ask sends a body, and reads the answer if it says something of a key.
func (c asker) ask(r *http.Request) (wire.Verified, reply) {
	c.t.Helper()
	got := c.managed(r)
	var said wire.Verified
	if got.code == http.StatusOK {
		dec := json.NewDecoder(strings.NewReader(got.body))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&said); err != nil || said.Valid != (said.Code == wire.CodeValid) {
			c.t.Errorf("%v: %v", err, got)
		}
	}
	return said, got
}

// verify asks about a key; more are members of the body, such as "cost":2.
func (c asker) verify(key string, more ...string) (wire.Verified, reply) {
	c.t.Helper()
	return c.ask(c.request(bodyOf(key, more...)))
}

func bodyOf(key string, more ...string) string {
	quoted, _ := json.Marshal(key)
	return "{" + strings.Join(append([]string{`"key":` + string(quoted)}, more...), ",") + "}"
}

func TestAKeyIsVerifiedWithoutAToken(t *testing.T) {
	w := newWorld(t)
	c := w.verifying("gateway")
	id, key := w.newKey(manage.NewKey{
		Owner: "user_42", Name: "laptop", Permissions: projects, Metadata: json.RawMessage(`{"plan":"pro"}`), ExpiresIn: time.Hour,
		Remaining: uses(5), Refill: verifier.Refill{Amount: 9, Interval: verifier.Every(time.Hour)},
		Rate: verifier.Rate{Limit: 60, Window: time.Minute, Burst: 10},
	})
	said, got := c.verify(key, `"cost":2`)
	left, refill, expires := int64(3), noon.Add(time.Hour), noon.Add(time.Hour)
	want := wire.Verified{
		Valid: true, Code: "valid",
		Key: &wire.VerifiedKey{
			ID: string(id), Owner: "user_42", Keyspace: "default", Name: "laptop",
			Permissions: projects, Metadata: json.RawMessage(`{"plan":"pro"}`), ExpiresAt: &expires,
		},
		Remaining: &left, RefillAt: &refill,
		RateLimit: &wire.RateLimit{Limit: 60, WindowMS: 60000, Burst: 10, Remaining: 8, ResetAt: noon.Add(2 * time.Second)},
	}
	if diff := cmp.Diff(want, said); got.code != http.StatusOK || diff != "" {
		t.Errorf("%v\n%s", got, diff)
	}
	if left := w.remaining(id); left != 3 {
		t.Errorf("%d remaining", left)
	}
	line := w.lastLine()
	delete(line, "duration")
	delete(line, "time")
	wantLine := map[string]any{"level": "INFO", "msg": "verified", "key_id": string(id), "client": "gateway", "audience": "", "outcome": "valid", "remote": "192.0.2.1"}
	if diff := cmp.Diff(wantLine, line); diff != "" {
		t.Errorf("logged: %s", diff)
	}
}

func TestOfAnUnlimitedKeyNoLimitsAreTold(t *testing.T) {
	w := newWorld(t)
	_, key := w.newKey(manage.NewKey{})
	_, got := w.verifying("gateway").verify(key)
	for _, part := range []string{`"remaining":null`, `"refill_at":null`, `"rate_limit":null`, `"permissions":{}`, `"metadata":null`, `"expires_at":null`} {
		if !strings.Contains(got.body, part) {
			t.Errorf("no %s in %v", part, got)
		}
	}
}

func TestWhatIsWrongWithAKeyItselfIsToldByRight(t *testing.T) {
	w := newWorld(t)
	blind, sees := w.verifying("gateway"), w.verifying("support", client.ReasonsRead)
	keys := w.badKeys()
	keys["a JWT"] = "eyJhbGciOiJub25lIn0.e30.x"
	var first string
	for reason, key := range keys {
		if reason == "a JWT" {
			reason = wire.ReasonMalformed
		}
		for _, more := range []string{`"cost":1`, `"audience":"https://evil.example.com"`, `"permissions":{"x":["y"]}`, `"permissions":{}`} {
			_, got := blind.verify(key, more)
			if first == "" {
				first = got.String()
			}
			if got.String() != first || !strings.Contains(got.body, `"code":"invalid","key":null`) {
				t.Errorf("%s, %s:\n%v, want\n%s", reason, more, got, first)
			}
			if line := w.lastLine(); line["outcome"] != reason || line["client"] != "gateway" {
				t.Errorf("%s: logged %v", reason, line)
			}
		}
		if said, got := sees.verify(key); said.Code != reason || said.Valid || said.Key != nil {
			t.Errorf("%s: %v", reason, got)
		}
	}
}

func TestWhatIsWrongWithTheRequestForAGoodKeyIsToldToAll(t *testing.T) {
	w := newWorld(t)
	c := w.verifying("gateway")
	id, key := w.newKey(manage.NewKey{Permissions: projects, Remaining: uses(5), Rate: verifier.Rate{Limit: 1, Window: 10 * time.Second, Burst: 2}})
	tests := map[string]struct {
		ask   string
		code  string
		retry int64
	}{
		"an audience that the client does not have":   {`"audience":"https://orders.example.com"`, "audience", 0},
		"a permission that the key does not hold":     {`"permissions":{"projects":["read","delete"]}`, "permission", 0},
		"no permission at all, but asked for":         {`"permissions":{}`, "permission", 0},
		"names that no scope can carry, and not held": {`"permissions":{"a:b c":["\"d\""]}`, "permission", 0},
		"more than is left":                           {`"cost":6`, "spent", 0},
		"too much at once":                            {`"cost":3`, "rate_limited", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			said, got := c.verify(key, test.ask)
			if said.Code != test.code || said.Valid || said.RetryAfterMS != test.retry || said.Key == nil || said.Key.ID != string(id) {
				t.Fatalf("%v", got)
			}
			if *said.Remaining != 5 || said.RateLimit.Remaining != 2 || len(said.Key.Permissions["projects"]) != 2 {
				t.Errorf("%v", got)
			}
		})
	}
	t.Run("too soon, and when to come again", func(t *testing.T) {
		if said, got := c.verify(key, `"cost":2`); !said.Valid {
			t.Fatal(got)
		}
		w.setClock(noon.Add(time.Second))
		if said, got := c.verify(key); said.Code != "rate_limited" || said.RetryAfterMS != 9000 || *said.Remaining != 3 {
			t.Errorf("%v", got)
		}
		if left := w.remaining(id); left != 3 {
			t.Errorf("%d remaining: a refusal charged", left)
		}
	})
}

func TestImportedNamesCanBeAskedFor(t *testing.T) {
	w := newWorld(t)
	c := w.verifying("gateway")
	key, err := verifier.GenerateKey("ck")
	if err != nil {
		t.Fatal(err)
	}
	names := verifier.Permissions{"a:b c": {`"d"`, "é"}, "plain": {"x"}}
	w.addKey(verifier.Key{ID: "key_1", Digest: key.Digest(), Keyspace: "default", State: verifier.Active, Permissions: names, CreatedAt: noon})
	said, got := c.verify(keepSecret(key.Reveal()), `"permissions":{"a:b c":["\"d\"","é"]}`)
	if !said.Valid || len(said.Key.Permissions) != 1 {
		t.Errorf("%v", got)
	}
	if said, got := c.verify(key.Reveal()); !said.Valid || cmp.Diff(map[string][]string(names), said.Key.Permissions) != "" {
		t.Errorf("with none asked: %v", got)
	}
}

func TestAnAudienceIsAskedForAsInAnExchange(t *testing.T) {
	w := newWorld(t)
	both := asker{w, "both", w.newClient(manage.NewClient{ID: "both", Audiences: []string{orders, billing}, Rights: []client.Right{client.KeysVerify}})}
	_, key := w.newKey(manage.NewKey{Audiences: []string{billing}})
	if said, got := both.verify(key, `"audience":"`+billing+`"`); !said.Valid || said.Audience != billing {
		t.Errorf("%v", got)
	}
	for _, more := range [][]string{{`"audience":"` + orders + `"`}, nil} {
		if said, got := both.verify(key, more...); said.Code != "audience" {
			t.Errorf("%v: %v", more, got)
		}
	}
	if said, got := w.verifying("none").verify(key); said.Code != "audience" {
		t.Errorf("a client of none: %v", got)
	}
}

func TestAPeekNeedsARightOfItsOwn(t *testing.T) {
	w := newWorld(t)
	id, key := w.newKey(manage.NewKey{Remaining: uses(1)})
	if _, got := w.verifying("gateway").verify(key, `"cost":0`); got.code != http.StatusForbidden {
		t.Errorf("%v", got)
	}
	peeks := w.verifying("dashboard", client.KeysPeek)
	for range 2 {
		if said, got := peeks.verify(key, `"cost":0`); !said.Valid || *said.Remaining != 1 {
			t.Errorf("%v", got)
		}
	}
	if said, got := peeks.verify(key); !said.Valid || w.remaining(id) != 0 {
		t.Errorf("%v", got)
	}
	if said, got := peeks.verify(key, `"cost":0`); said.Code != "spent" {
		t.Errorf("%v", got)
	}
}

func TestARequestToVerifyIsRefused(t *testing.T) {
	w := newWorld(t)
	c := w.verifying("gateway")
	id, key := w.newKey(manage.NewKey{Permissions: projects, Remaining: uses(5)})
	tests := map[string]struct {
		body   string
		change func(*http.Request)
		code   int
		field  string // that is at fault
	}{
		"without a key":                           {body: `{}`, code: 422, field: "key"},
		"without a body":                          {body: ``, code: 422, field: "key"},
		"with an empty key":                       {body: bodyOf(""), code: 422, field: "key"},
		"with a key that is null":                 {body: `{"key":null}`, code: 400, field: "key"},
		"with an empty keyspace":                  {body: bodyOf(key, `"keyspace":""`), code: 422, field: "keyspace"},
		"with an empty audience":                  {body: bodyOf(key, `"audience":""`), code: 422, field: "audience"},
		"with permissions that are null":          {body: bodyOf(key, `"permissions":null`), code: 400, field: "permissions"},
		"with a resource that is null":            {body: bodyOf(key, `"permissions":{"a":null}`), code: 400, field: "permissions"},
		"with permissions that are a list":        {body: bodyOf(key, `"permissions":["projects:read"]`), code: 400, field: "permissions"},
		"with a resource without actions":         {body: bodyOf(key, `"permissions":{"projects":[]}`), code: 422, field: "permissions"},
		"with a resource that is there two times": {body: bodyOf(key, `"permissions":{"a":["b"],"a":["c"]}`), code: 400, field: "a"},
		"with too many actions": {
			body: bodyOf(key, `"permissions":{"projects":[`+strings.Repeat(`"r",`, 1000)+`"r"]}`), code: 422, field: "permissions",
		},
		"with a member that is not known":    {body: bodyOf(key, `"costs":1`), code: 400, field: "costs"},
		"with a member in capitals":          {body: bodyOf(key, `"COST":1`), code: 400, field: "COST"},
		"with a member that is there twice":  {body: bodyOf(key, `"cost":0,"cost":1`), code: 400, field: "cost"},
		"with a negative cost":               {body: bodyOf(key, `"cost":-1`), code: 422, field: "cost"},
		"with a cost out of bounds":          {body: bodyOf(key, `"cost":1000000000000000`), code: 422, field: "cost"},
		"with a cost beyond 64 bits":         {body: bodyOf(key, `"cost":99999999999999999999`), code: 400, field: "cost"},
		"with a fraction of a cost":          {body: bodyOf(key, `"cost":1.5`), code: 400, field: "cost"},
		"with a cost as text":                {body: bodyOf(key, `"cost":"1"`), code: 400, field: "cost"},
		"with a cost that is null":           {body: bodyOf(key, `"cost":null`), code: 400, field: "cost"},
		"that is no object":                  {body: `["` + key + `"]`, code: 400},
		"that is no JSON":                    {body: `key=` + key, code: 400},
		"of two objects":                     {body: bodyOf(key) + bodyOf(key), code: 400},
		"that is no UTF-8":                   {body: "{\"key\":\"\xff\"}", code: 400},
		"that is too large":                  {body: bodyOf(key, `"keyspace":"`+strings.Repeat("x", 16<<10)+`"`), code: 413},
		"as a form":                          {body: bodyOf(key), change: setHeader("Content-Type", wire.MediaForm), code: 415},
		"without a media type":               {body: bodyOf(key), change: func(r *http.Request) { r.Header.Del("Content-Type") }, code: 415},
		"in another encoding":                {body: bodyOf(key), change: setHeader("Content-Encoding", "gzip"), code: 415},
		"to answer with anything but JSON":   {body: bodyOf(key), change: setHeader("Accept", "text/html"), code: 406},
		"with a query":                       {body: bodyOf(key), change: func(r *http.Request) { r.URL.RawQuery = "cost=0" }, code: 400, field: "cost"},
		"with a wrong secret":                {body: bodyOf(key), change: func(r *http.Request) { r.SetBasicAuth(c.id, "wrong") }, code: 401},
		"of nobody":                          {body: `{`, change: func(r *http.Request) { r.Header.Del("Authorization") }, code: 401},
		"without the right":                  {body: `{`, change: func(r *http.Request) { r.SetBasicAuth(w.clientID, w.secret) }, code: 403},
		"by another method":                  {body: bodyOf(key), change: func(r *http.Request) { r.Method = http.MethodPut }, code: 405},
		"under an idempotency key in pieces": {body: bodyOf(key), change: setHeader("Idempotency-Key", `"a`), code: 400},
		"under an empty idempotency key":     {body: bodyOf(key), change: setHeader("Idempotency-Key", `""`), code: 400},
		"under two idempotency keys": {body: bodyOf(key), change: func(r *http.Request) {
			r.Header["Idempotency-Key"] = []string{"a", "a"}
		}, code: 400},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := c.request(test.body)
			if test.change != nil {
				test.change(r)
			}
			_, got := c.ask(r)
			if got.code != test.code || strings.Contains(got.body, key) || test.field != "" && !strings.Contains(got.body, `"field":"`+test.field+`"`) {
				t.Errorf("%v, want %d %s", got, test.code, test.field)
			}
			if challenge := got.header.Get("WWW-Authenticate"); (challenge != "") != (got.code == 401) {
				t.Errorf("challenge %q", challenge)
			}
		})
	}
	if left := w.remaining(id); left != 5 {
		t.Errorf("%d remaining: a refusal charged", left)
	}
}

func setHeader(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestAVerificationCanBeRepeated(t *testing.T) {
	w := newWorld(t)
	c := w.verifying("gateway", client.KeysPeek)
	id, key := w.newKey(manage.NewKey{Remaining: uses(5)})
	under := func(idempotencyKey string, more ...string) (wire.Verified, reply) {
		t.Helper()
		r := c.request(bodyOf(key, more...))
		r.Header.Set("Idempotency-Key", idempotencyKey)
		return c.ask(r)
	}
	first, got := under("order-7")
	if !first.Valid || first.Replayed || got.header.Get("Idempotent-Replayed") != "" {
		t.Fatal(got)
	}
	for _, again := range []string{"order-7", `"order-7"`} {
		said, got := under(again)
		if !said.Replayed || got.header.Get("Idempotent-Replayed") != "true" || w.lastLine()["replayed"] != true {
			t.Errorf("%v", got)
		}
		said.Replayed = false
		if diff := cmp.Diff(first, said); diff != "" {
			t.Errorf("not as the first: %s", diff)
		}
	}
	if _, got := under("order-7", `"cost":2`); got.code != http.StatusUnprocessableEntity || !strings.Contains(got.body, `"reason":"idempotency_key_reused"`) {
		t.Errorf("another request: %v", got)
	}
	if said, got := under("order-7", `"cost":0`); !said.Valid || said.Replayed || *said.Remaining != 4 {
		t.Errorf("a peek: %v", got)
	}
	if left := w.remaining(id); left != 4 {
		t.Errorf("%d remaining, want 4", left)
	}
	if said, got := under("order-8"); !said.Valid || said.Replayed || *said.Remaining != 3 {
		t.Errorf("another key: %v", got)
	}
}

func TestWhenWeCannotTellOfAKeyWeSaySo(t *testing.T) {
	tests := map[string]struct {
		err    error
		code   int
		reason string
		retry  string
	}{
		"the store is away: nothing was charged, try again": {errors.New("no route"), 503, `"reason":"unavailable"`, "1"},
		"the commit broke: it may have been charged":        {fmt.Errorf("%w: reset", verifier.ErrOutcomeUnknown), 503, `"reason":"outcome_unknown"`, ""},
		"the store took too long":                           {context.DeadlineExceeded, 503, `"reason":"unavailable"`, "1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, failing(test.err))
			_, key := w.newKey(manage.NewKey{})
			_, got := w.verifying("gateway").verify(key)
			if got.code != test.code || !strings.Contains(got.body, test.reason) || got.header.Get("Retry-After") != test.retry {
				t.Errorf("%v", got)
			}
			if line := w.lastLine(); line["level"] != "ERROR" || line["client"] != "gateway" {
				t.Errorf("%v", line)
			}
		})
	}
}

func TestAnExchangeCanBeRepeated(t *testing.T) {
	w := newWorld(t)
	id, key := w.newKey(manage.NewKey{Remaining: uses(5), Permissions: projects})
	under := func(idempotencyKey string, changes ...string) reply {
		t.Helper()
		r := w.post(form(key, changes...).Encode())
		r.Header.Set("Idempotency-Key", idempotencyKey)
		return w.do(r)
	}
	first := under("order-7")
	w.want(first, http.StatusOK, "")
	w.setClock(noon.Add(100 * time.Second))
	again := under("order-7")
	w.want(again, http.StatusOK, "")
	if first.header.Get("Idempotent-Replayed") != "" || again.header.Get("Idempotent-Replayed") != "true" || again.ok.ExpiresIn != 200 {
		t.Errorf("%v, then %v", first, again)
	}
	if line := w.lastLine(); line["replayed"] != true || line["jti"] != claims(t, first.ok.AccessToken).ID {
		t.Errorf("%v", line)
	}
	if diff := cmp.Diff(claims(t, first.ok.AccessToken), claims(t, again.ok.AccessToken)); diff != "" {
		t.Errorf("other claims: %s", diff)
	}
	got := under("order-7", "cost", "2")
	w.want(got, http.StatusBadRequest, "invalid_request")
	if line := w.lastLine(); got.err.Reason != "idempotency_key_reused" || line["reason"] != got.err.Reason {
		t.Errorf("%v, logged %v", got, line)
	}
	for _, bad := range []string{`"`, `""`, "a,b", strings.Repeat("x", 256), "é"} {
		w.want(under(bad), http.StatusBadRequest, "invalid_request")
	}
	if left := w.remaining(id); left != 4 {
		t.Errorf("%d remaining, want 4", left)
	}
}
