package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

func TestAKeyIsMadeAndReadAndItsSecretIsToldOnce(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	got := root("POST", wire.PathKeys, `{"owner":"user_42","name":"CI","external_id":"7","permissions":{"projects":["read"]},"audiences":["`+orders+`"],
		"metadata":{"plan":"pro"},"expires_in":3600,"remaining":5,"refill":"1000/month","rate":"100/1m,20"}`)
	made := must[wire.CreatedKey](t, got, http.StatusCreated)
	if made.Secret == nil || !verifier.WellFormed(verifier.NewSecret(*made.Secret)) || !strings.HasPrefix(*made.Secret, made.Start) {
		t.Fatalf("no key: %+v", made.Key)
	}
	if got.header.Get("Location") != wire.PathKeys+"/"+made.ID || got.header.Get("ETag") != `"1"` {
		t.Errorf("%v", got.header)
	}
	at := noon
	five := int64(5)
	want := wire.Key{
		ID: made.ID, Start: made.Start, Keyspace: "default", Owner: "user_42", Name: "CI", ExternalID: "7",
		Permissions: map[string][]string{"projects": {"read"}}, Audiences: []string{orders}, Metadata: []byte(`{"plan":"pro"}`),
		State: "active", CreatedAt: &at, ExpiresAt: new(noon.Add(time.Hour)), Remaining: &five, Refill: new("1000/month"),
		RefillAt: new(time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)), Rate: new("100/1m,20"), Budget: made.Budget, Version: 1,
	}
	if diff := cmp.Diff(want, made.Key); diff != "" {
		t.Error(diff)
	}
	shown := root("GET", wire.PathKeys+"/"+made.ID, "")
	if diff := cmp.Diff(want, must[wire.Key](t, shown, 200)); diff != "" || shown.header.Get("ETag") != `"1"` {
		t.Errorf("%v %s", shown.header, diff)
	}
	if strings.Contains(shown.body, *made.Secret) || strings.Contains(root("GET", wire.PathKeys, "").body, *made.Secret) {
		t.Error("the secret is told again")
	}
	w.want(w.exchange(form(*made.Secret)), http.StatusOK, "")
	wantCode(t, root("POST", wire.PathKeys, `{"keyspace":"nowhere"}`), http.StatusNotFound)
}

func TestALocationIsBelowTheIssuersPath(t *testing.T) {
	w := underPath(t)
	got := w.root()("POST", "/eu/tenant-1"+wire.PathKeys, `{}`)
	made := must[wire.CreatedKey](t, got, http.StatusCreated)
	if got.header.Get("Location") != "/eu/tenant-1/v1/keys/"+made.ID {
		t.Errorf("%v", got.header)
	}
}

func TestAPatchChangesWhatItNamesAndNullIsNone(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	full := `{"name":"a","permissions":{"p":["r"]},"audiences":["` + orders + `"],"metadata":{"a":1},"expires_in":60,"remaining":5,"refill":"9/day","rate":"5/1m"}`
	for name, test := range map[string]struct {
		patch  string
		change func(k *wire.Key)
	}{
		"nothing":     {`{}`, func(*wire.Key) {}},
		"its name":    {`{"name":"b"}`, func(k *wire.Key) { k.Name = "b" }},
		"no name":     {`{"name":null}`, func(k *wire.Key) { k.Name = "" }},
		"permissions": {`{"permissions":{"q":["w"]}}`, func(k *wire.Key) { k.Permissions = map[string][]string{"q": {"w"}} }},
		"no permissions": {`{"permissions":null}`, func(k *wire.Key) {
			k.Permissions = map[string][]string{}
		}},
		"no audiences":      {`{"audiences":null}`, func(k *wire.Key) { k.Audiences = []string{} }},
		"metadata":          {`{"metadata":{"b":[null]}}`, func(k *wire.Key) { k.Metadata = []byte(`{"b":[null]}`) }},
		"no metadata":       {`{"metadata":null}`, func(k *wire.Key) { k.Metadata = []byte("null") }},
		"its end":           {`{"expires_at":"2027-01-01T01:00:00+01:00"}`, func(k *wire.Key) { k.ExpiresAt = new(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) }},
		"no end":            {`{"expires_at":null}`, func(k *wire.Key) { k.ExpiresAt = nil }},
		"what remains":      {`{"remaining":7}`, func(k *wire.Key) { k.Remaining = new(int64(7)) }},
		"no limit":          {`{"remaining":null}`, func(k *wire.Key) { k.Remaining, k.Refill, k.RefillAt = nil, nil, nil }},
		"the refill":        {`{"refill":"50/day"}`, func(k *wire.Key) { k.Refill = new("50/day") }},
		"no refill":         {`{"refill":null}`, func(k *wire.Key) { k.Refill, k.RefillAt = nil, nil }},
		"the rate":          {`{"rate":"7/1s"}`, func(k *wire.Key) { k.Rate = new("7/1s") }},
		"no rate, no name":  {`{"rate":null,"name":""}`, func(k *wire.Key) { k.Rate, k.Name = nil, "" }},
		"several at a time": {`{"name":"b","remaining":1,"expires_at":null}`, func(k *wire.Key) { k.Name, k.Remaining, k.ExpiresAt = "b", new(int64(1)), nil }},
	} {
		t.Run(name, func(t *testing.T) {
			made := must[wire.CreatedKey](t, root("POST", wire.PathKeys, full), 201)
			want := made.Key
			test.change(&want)
			want.Version, want.ChangedAt = 2, new(noon)
			got := root("PATCH", wire.PathKeys+"/"+made.ID, test.patch, "Content-Type", wire.MediaPatch)
			if diff := cmp.Diff(want, must[wire.Key](t, got, 200)); diff != "" || got.header.Get("ETag") != `"2"` {
				t.Errorf("%v %s", got.header, diff)
			}
		})
	}
}

func TestKeysAreSuspendedAndEndedWithAReason(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	id, key := w.newKey(manage.NewKey{})
	one := wire.PathKeys + "/" + string(id)
	state := func(action, body string) wire.Key {
		t.Helper()
		return must[wire.Key](t, root("POST", one+"/"+action, body), 200)
	}
	if k := state("disable", `{"reason":"ticket 1"}`); k.State != "disabled" || k.Reason != "ticket 1" || k.Version != 2 {
		t.Errorf("%+v", k)
	}
	w.want(w.exchange(form(key)), http.StatusBadRequest, "invalid_request")
	if k := state("disable", ""); k.Reason != "ticket 1" || k.Version != 2 {
		t.Errorf("disabled twice: %+v", k)
	}
	if k := state("enable", `{"reason":null}`); k.State != "active" || k.Reason != "" || k.Version != 3 {
		t.Errorf("%+v", k)
	}
	w.want(w.exchange(form(key)), http.StatusOK, "")
	state("void", `{"reason":"a leak"}`)
	if k := state("revoke", `{"reason":"ticket 2"}`); k.State != "revoked" || k.Reason != "ticket 2" {
		t.Errorf("%+v", k)
	}
	w.want(w.exchange(form(key)), http.StatusBadRequest, "invalid_request")
	wantCode(t, root("POST", one+"/enable", ""), http.StatusConflict)
	wantCode(t, root("PATCH", one, `{"name":"x"}`), http.StatusConflict)
	wantCode(t, root("POST", one+"/rotate", ""), http.StatusConflict)
	got := root("DELETE", one, "")
	if wantCode(t, got, http.StatusNoContent); got.body != "" {
		t.Errorf("%v", got)
	}
	wantCode(t, root("GET", one, ""), http.StatusGone)
	for _, action := range []string{"disable", "revoke", "void", "rotate"} {
		wantCode(t, root("POST", one+"/"+action, ""), http.StatusGone)
	}
	wantCode(t, root("DELETE", one, ""), http.StatusGone)
}

func TestARotationIsAnsweredWithBothKeysAndOneBudget(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	id, old := w.newKey(manage.NewKey{Remaining: uses(2)})
	got := root("POST", wire.PathKeys+"/"+string(id)+"/rotate", `{"overlap":60,"expires_in":3600,"reason":"yearly"}`)
	made := must[wire.RotatedKey](t, got, http.StatusCreated)
	if got.header.Get("Location") != wire.PathKeys+"/"+made.ID || made.Replaces == nil || *made.Replaces != string(id) {
		t.Errorf("%v %+v", got.header, made.Key)
	}
	if p := made.Predecessor; p.ID != string(id) || *p.ReplacedBy != made.ID || !p.ExpiresAt.Equal(noon.Add(time.Minute)) || p.Budget != made.Budget {
		t.Errorf("%+v", p)
	}
	w.want(w.exchange(form(old)), http.StatusOK, "")
	w.want(w.exchange(form(*made.Secret)), http.StatusOK, "")
	w.want(w.exchange(form(*made.Secret)), http.StatusTooManyRequests, "invalid_request")
	wantCode(t, root("POST", wire.PathKeys+"/"+string(id)+"/rotate", ""), http.StatusConflict)
}

func TestABudgetIsSetAddedToAndLifted(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	id, _ := w.newKey(manage.NewKey{Remaining: uses(5)})
	for _, test := range []struct {
		body      string
		remaining *int64
	}{
		{`{"add":10}`, uses(15)}, {`{"add":-5,"reason":"misuse"}`, uses(10)}, {`{"remaining":3}`, uses(3)},
		{`{"rate":"5/1m"}`, uses(3)}, {`{"refill":"9/day"}`, uses(3)}, {`{"remaining":null}`, nil},
	} {
		k := must[wire.Key](t, root("POST", wire.PathKeys+"/"+string(id)+"/budget", test.body), 200)
		if diff := cmp.Diff(test.remaining, k.Remaining); diff != "" {
			t.Errorf("%s: %s", test.body, diff)
		}
	}
}

func TestKeysAreListedByPagesAndNarrowed(t *testing.T) {
	w := newWorld(t)
	w.newKeyspace("a")
	w.newKeyspace("b")
	root := w.root()
	var ids []string
	for i := range 7 {
		id, _ := w.newKey(manage.NewKey{Keyspace: []string{"a", "b"}[i%2], Owner: fmt.Sprint("owner & ", i%3), Name: fmt.Sprint("n", i), ExternalID: fmt.Sprint("x", i)})
		ids = append(ids, string(id))
	}
	if _, err := w.manage.DisableKey(t.Context(), verifier.KeyID(ids[3])); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string][]string{
		"":                                       ids,
		"?keyspace=a":                            {ids[0], ids[2], ids[4], ids[6]},
		"?keyspace=a&keyspace=b&name=n1":         {ids[1]},
		"?owner=" + url.QueryEscape("owner & 0"): {ids[0], ids[3], ids[6]},
		"?external_id=x2":                        {ids[2]},
		"?state=disabled":                        {ids[3]},
		"?state=expired":                         {},
		"?after=" + ids[5]:                       {ids[6]},
	} {
		page := must[wire.KeyPage](t, root("GET", wire.PathKeys+query, ""), 200)
		got := []string{}
		for _, k := range page.Keys {
			got = append(got, k.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" || page.Next != nil {
			t.Errorf("%s: next %v %s", query, page.Next, diff)
		}
	}

	t.Run("each page names the next, and the last none", func(t *testing.T) {
		var got []string
		path := wire.PathKeys + "?limit=2&keyspace=a&keyspace=b"
		for range 10 {
			answer := root("GET", path, "")
			page := must[wire.KeyPage](t, answer, 200)
			for _, k := range page.Keys {
				got = append(got, k.ID)
			}
			link := answer.header.Get("Link")
			if page.Next == nil {
				if link != "" {
					t.Errorf("a link to %s", link)
				}
				break
			}
			target, found := strings.CutPrefix(link, "<?")
			target, rel, _ := strings.Cut(target, ">")
			if query, err := url.ParseQuery(target); !found || err != nil || query.Get("after") != *page.Next || rel != `; rel="next"` {
				t.Fatalf("link %s, next %s", link, *page.Next)
			}
			path = wire.PathKeys + "?" + target
		}
		if diff := cmp.Diff(ids, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a page that is just full is the last", func(t *testing.T) {
		if page := must[wire.KeyPage](t, root("GET", wire.PathKeys+"?limit=7", ""), 200); page.Next != nil || len(page.Keys) != 7 {
			t.Errorf("%d keys, then %v", len(page.Keys), page.Next)
		}
	})
}

func TestOfTwoWhoChangeAThingTheSecondLearnsOfTheFirst(t *testing.T) {
	w := newWorld(t)
	th := w.things("shop")
	ann := w.managerOf(manage.NewClient{ID: "ann", Rights: client.Rights(), Keyspaces: []string{"*"}, Audiences: []string{"*"}})
	bob := w.managerOf(manage.NewClient{ID: "bob", Rights: client.Rights(), Keyspaces: []string{"*"}, Audiences: []string{"*"}})
	for path, patches := range map[string][2]string{
		wire.PathKeys + "/" + th.key:           {`{"name":"ann's"}`, `{"name":"bob's"}`},
		wire.PathKeyspaces + "/" + th.keyspace: {`{"key_lifetime":60}`, `{"key_lifetime":120}`},
		wire.PathClients + "/" + th.client:     {`{"audiences":["https://ann.example.com"]}`, `{"audiences":["https://bob.example.com"]}`},
	} {
		t.Run(path, func(t *testing.T) {
			tag := ann("GET", path, "").header.Get("ETag")
			if same := bob("GET", path, "").header.Get("ETag"); tag == "" || same != tag {
				t.Fatalf("%q and %q", tag, same)
			}
			first := ann("PATCH", path, patches[0], "If-Match", tag)
			wantCode(t, first, 200)
			for name, header := range map[string]string{
				"the tag that both read":   tag,
				"a tag of no version":      `"abc"`,
				"a weak tag":               "W/" + first.header.Get("ETag"),
				"a number with a zero":     `"0` + strings.Trim(first.header.Get("ETag"), `"`) + `"`,
				"several that are no more": tag + `, "abc", W/"2"`,
			} {
				if got := bob("PATCH", path, patches[1], "If-Match", header); got.code != http.StatusPreconditionFailed {
					t.Errorf("%s: %v", name, got)
				}
				if got := bob("DELETE", path, "", "If-Match", header); got.code != http.StatusPreconditionFailed {
					t.Errorf("%s: deleted, %v", name, got)
				}
			}
			after := ann("GET", path, "")
			if after.header.Get("ETag") != first.header.Get("ETag") || after.body != first.body {
				t.Errorf("something was done: %v", after)
			}
			version, _ := strconv.ParseInt(strings.Trim(after.header.Get("ETag"), `"`), 10, 64)
			wantCode(t, bob("PATCH", path, patches[1], "If-Match", fmt.Sprintf(`"%d"`, version)), 200)
			wantCode(t, bob("PATCH", path, patches[0], "If-Match", fmt.Sprintf(`"abc" , W/"1","%d"`, version+1)), 200)
			wantCode(t, bob("PATCH", path, patches[1], "If-Match", "*"), 200)
		})
	}
	t.Run("there is no version of many things", func(t *testing.T) {
		wantCode(t, ann("POST", wire.PathVoid, `{"owner":"x"}`, "If-Match", `"1"`), http.StatusPreconditionFailed)
		wantCode(t, ann("POST", wire.PathKeys, `{}`, "If-Match", `"1"`), http.StatusPreconditionFailed)
	})
	t.Run("what is not there has none either", func(t *testing.T) {
		wantCode(t, ann("PATCH", wire.PathKeys+"/key_0", `{}`, "If-Match", `"1", "2"`), http.StatusNotFound)
	})
}
