package verifier_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/verifier"
)

var noon = time.Date(2026, time.March, 10, 12, 0, 0, 0, time.UTC)

// good is a key, and a request for it, with which nothing is wrong.
func good() (*verifier.Record, verifier.Request) {
	rec := &verifier.Record{
		Key: verifier.Key{
			ID:          "key_1",
			Keyspace:    "default",
			Owner:       "user_42",
			Permissions: verifier.Permissions{"projects": {"read", "write"}, "files": {"read"}},
			State:       verifier.Active,
		},
		Keyspace: verifier.Keyspace{Name: "default"},
		Status:   verifier.StatusRef{List: 3, Index: 7, Generation: 1},
		Budget:   &verifier.Budget{ID: "bud_1"},
	}
	req := verifier.Request{
		Cost: 1,
		Client: verifier.Allowance{
			ID:        "orders",
			Version:   1,
			Audiences: []string{"https://orders.example.com"},
			Keyspaces: []string{"default"},
		},
	}
	return rec, req
}

func TestDecideRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(rec *verifier.Record, req *verifier.Request)
		want   error
	}{
		"a good key is granted": {func(*verifier.Record, *verifier.Request) {}, nil},
		"a key of another keyspace than asked is refused": {func(_ *verifier.Record, req *verifier.Request) {
			req.Keyspace = "other"
		}, verifier.ErrWrongKeyspace},
		"a key of a keyspace that the client may not use is refused": {func(_ *verifier.Record, req *verifier.Request) {
			req.Client.Keyspaces = []string{"other"}
		}, verifier.ErrWrongKeyspace},
		"a client without keyspaces may use none": {func(_ *verifier.Record, req *verifier.Request) {
			req.Client.Keyspaces = nil
		}, verifier.ErrWrongKeyspace},
		"a client of all keyspaces still gets the one it asks for": {func(_ *verifier.Record, req *verifier.Request) {
			req.Client.AllKeyspaces, req.Client.Keyspaces, req.Keyspace = true, nil, "other"
		}, verifier.ErrWrongKeyspace},
		"a client of all keyspaces may use any": {func(_ *verifier.Record, req *verifier.Request) {
			req.Client.AllKeyspaces, req.Client.Keyspaces = true, nil
		}, nil},
		"a revoked key is refused": {func(rec *verifier.Record, _ *verifier.Request) {
			rec.Key.State = verifier.Revoked
		}, verifier.ErrRevoked},
		"a disabled key is refused, even unexpired": {func(rec *verifier.Record, _ *verifier.Request) {
			rec.Key.State, rec.Key.ExpiresAt = verifier.Disabled, noon.Add(time.Hour)
		}, verifier.ErrDisabled},
		"a key in a state from the future is refused": {func(rec *verifier.Record, _ *verifier.Request) {
			rec.Key.State = "quarantined"
		}, verifier.ErrDisabled},
		"a key is accepted until it expires": {func(rec *verifier.Record, _ *verifier.Request) {
			rec.Key.ExpiresAt = noon.Add(1)
		}, nil},
		"a key is refused the instant it expires": {func(rec *verifier.Record, _ *verifier.Request) {
			rec.Key.ExpiresAt = noon
		}, verifier.ErrExpired},
		"an audience that the client may not use is refused": {func(_ *verifier.Record, req *verifier.Request) {
			req.Targets = []string{"https://evil.example.com"}
		}, verifier.ErrAudience},
		"an audience is compared byte for byte": {func(_ *verifier.Record, req *verifier.Request) {
			req.Targets = []string{"https://orders.example.com/"}
		}, verifier.ErrAudience},
		"an audience that the key may not use is refused": {func(rec *verifier.Record, _ *verifier.Request) {
			rec.Key.Audiences = []string{"https://billing.example.com"}
		}, verifier.ErrAudience},
		"a key of its own audiences adds none to its client's": {func(rec *verifier.Record, req *verifier.Request) {
			rec.Key.Audiences = []string{"https://billing.example.com"}
			req.Targets = rec.Key.Audiences
		}, verifier.ErrAudience},
		"two audiences are refused, even allowed ones": {func(_ *verifier.Record, req *verifier.Request) {
			req.Client.Audiences = []string{"a", "b"}
			req.Targets = []string{"a", "b"}
		}, verifier.ErrAudience},
		"without an audience a client of two is refused": {func(_ *verifier.Record, req *verifier.Request) {
			req.Client.Audiences = []string{"a", "b"}
		}, verifier.ErrAudience},
		"without an audience a client of none is refused": {func(_ *verifier.Record, req *verifier.Request) {
			req.Client.Audiences = nil
		}, verifier.ErrAudience},
		"the empty audience is never allowed by being asked": {func(_ *verifier.Record, req *verifier.Request) {
			req.Targets = []string{""}
		}, verifier.ErrAudience},
		"an action that the key does not hold is refused": {func(_ *verifier.Record, req *verifier.Request) {
			req.Permissions = verifier.Permissions{"projects": {"read", "delete"}}
		}, verifier.ErrPermission},
		"a resource that the key does not hold is refused": {func(_ *verifier.Record, req *verifier.Request) {
			req.Permissions = verifier.Permissions{"invoices": {"read"}}
		}, verifier.ErrPermission},
		"a permission that the client may not pass on is refused": {func(_ *verifier.Record, req *verifier.Request) {
			req.Client.Permissions = verifier.Permissions{"files": {"read"}}
			req.Permissions = verifier.Permissions{"projects": {"read"}}
		}, verifier.ErrPermission},
		"no permission at all, but asked for, is covered by nothing": {func(_ *verifier.Record, req *verifier.Request) {
			req.Permissions = verifier.Permissions{}
		}, verifier.ErrPermission},
		"without a token, a client without audiences needs no target": {func(_ *verifier.Record, req *verifier.Request) {
			req.NoToken, req.Client.Audiences = true, nil
		}, nil},
		"without a token, a key of its own audiences still needs one": {func(rec *verifier.Record, req *verifier.Request) {
			req.NoToken, req.Client.Audiences = true, nil
			rec.Key.Audiences = []string{"https://orders.example.com"}
		}, verifier.ErrAudience},
		"without a token, a client without audiences still names none": {func(_ *verifier.Record, req *verifier.Request) {
			req.NoToken, req.Client.Audiences = true, nil
			req.Targets = []string{"https://orders.example.com"}
		}, verifier.ErrAudience},
		"without a token, a client of two audiences still names one": {func(_ *verifier.Record, req *verifier.Request) {
			req.NoToken, req.Client.Audiences = true, []string{"a", "b"}
		}, verifier.ErrAudience},
		"permissions are case-sensitive": {func(_ *verifier.Record, req *verifier.Request) {
			req.Permissions = verifier.Permissions{"Projects": {"read"}}
		}, verifier.ErrPermission},
		"a star is a name like any other": {func(rec *verifier.Record, req *verifier.Request) {
			rec.Key.Permissions = verifier.Permissions{"*": {"*"}}
			req.Permissions = verifier.Permissions{"projects": {"read"}}
		}, verifier.ErrPermission},
		"names of other languages' innards are plain names": {func(rec *verifier.Record, req *verifier.Request) {
			rec.Key.Permissions = verifier.Permissions{"__proto__": {"constructor"}}
			req.Permissions = verifier.Permissions{"__proto__": {"constructor"}}
		}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rec, req := good()
			test.change(rec, &req)
			before := clone(rec)
			grant, err := verifier.Decide(noon, rec, nil, req)
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Fatalf("Decide: %v, want %v", err, test.want)
			}
			if err != nil && !errors.Is(err, verifier.ErrRefused) {
				t.Errorf("%v is no refusal", err)
			}
			if grant.KeyID != rec.Key.ID {
				t.Errorf("told about key %q", grant.KeyID)
			}
			if err != nil && !reflect.DeepEqual(rec, before) {
				t.Errorf("a refusal changed the record (-before +after):\n%s", cmp.Diff(before, rec, exported))
			}
		})
	}
}

// faults are all that can be wrong, in the order in which it must be told.
var faults = []struct {
	name  string
	apply func(rec *verifier.Record, req *verifier.Request)
	is    func(error) bool
}{
	{"wrong keyspace", func(_ *verifier.Record, req *verifier.Request) { req.Keyspace = "other" }, is(verifier.ErrWrongKeyspace)},
	{"revoked", func(rec *verifier.Record, _ *verifier.Request) { rec.Key.State = verifier.Revoked }, is(verifier.ErrRevoked)},
	{"disabled", func(rec *verifier.Record, _ *verifier.Request) {
		if rec.Key.State == verifier.Active {
			rec.Key.State = verifier.Disabled
		}
	}, is(verifier.ErrDisabled)},
	{"expired", func(rec *verifier.Record, _ *verifier.Request) { rec.Key.ExpiresAt = noon }, is(verifier.ErrExpired)},
	{"audience", func(_ *verifier.Record, req *verifier.Request) { req.Targets = []string{"x"} }, is(verifier.ErrAudience)},
	{"permission", func(_ *verifier.Record, req *verifier.Request) {
		req.Permissions = verifier.Permissions{"x": {"y"}}
	}, is(verifier.ErrPermission)},
	{"unholdable", func(_ *verifier.Record, req *verifier.Request) { req.Unholdable = true }, is(verifier.ErrPermission)},
	{"spent", func(rec *verifier.Record, _ *verifier.Request) { rec.Budget.Counted = true }, as[*verifier.SpentError]},
	{"rate limited", func(rec *verifier.Record, _ *verifier.Request) {
		rec.Budget.Rate = verifier.Rate{Limit: 1, Window: time.Minute, Burst: 1}
		rec.Budget.TAT = noon.Add(time.Minute)
	}, as[*verifier.RateLimitedError]},
}

func TestOfSeveralFaultsTheFirstInOrderIsTold(t *testing.T) {
	for set := 1; set < 1<<len(faults); set++ {
		rec, req := good()
		first := -1
		for i, f := range faults {
			if set&(1<<i) == 0 {
				continue
			}
			if first < 0 {
				first = i
			}
			f.apply(rec, &req)
		}
		before := clone(rec)
		_, err := verifier.Decide(noon, rec, nil, req)
		if !faults[first].is(err) {
			t.Errorf("faults %b: %v, want %s", set, err, faults[first].name)
		}
		if !reflect.DeepEqual(rec, before) {
			t.Errorf("faults %b: a refusal changed the record", set)
		}
	}
	if _, err := verifier.Decide(noon, nil, nil, verifier.Request{}); !errors.Is(err, verifier.ErrUnknown) {
		t.Errorf("no record: %v, want unknown", err)
	}
}

func TestDecideGrants(t *testing.T) {
	t.Run("all that key and client hold, when nothing is asked", func(t *testing.T) {
		rec, req := good()
		req.Client.Permissions = verifier.Permissions{"projects": {"read", "admin"}, "x": {"y"}}
		grant, err := verifier.Decide(noon, rec, nil, req)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(verifier.Permissions{"projects": {"read"}}, grant.Permissions); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("exactly what is asked", func(t *testing.T) {
		rec, req := good()
		req.Permissions = verifier.Permissions{"projects": {"write"}}
		grant, err := verifier.Decide(noon, rec, nil, req)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(req.Permissions, grant.Permissions); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("nothing, to a client that may pass on nothing", func(t *testing.T) {
		rec, req := good()
		req.Client.Permissions = verifier.Permissions{}
		grant, err := verifier.Decide(noon, rec, nil, req)
		if err != nil || len(grant.Permissions) != 0 {
			t.Errorf("%v, %v", grant.Permissions, err)
		}
	})
	t.Run("the client's only audience, and all facts of the key", func(t *testing.T) {
		rec, req := good()
		rec.Key.Name, rec.Key.ExternalID, rec.Key.ExpiresAt = "laptop", "ak_9", noon.Add(time.Hour)
		rec.Key.Metadata = []byte(`{"plan":"pro"}`)
		rec.Keyspace.TokenLifetime = time.Minute
		rec.Keyspace.PublishMetadata = true
		grant, err := verifier.Decide(noon, rec, nil, req)
		if err != nil {
			t.Fatal(err)
		}
		want := verifier.Grant{
			KeyID: "key_1", Keyspace: "default", Owner: "user_42", Name: "laptop", ExternalID: "ak_9",
			KeyMetadata:   rec.Key.Metadata,
			Audience:      "https://orders.example.com",
			Permissions:   rec.Key.Permissions,
			Metadata:      rec.Key.Metadata,
			TokenLifetime: time.Minute,
			NotAfter:      noon.Add(time.Hour),
			GrantedAt:     noon,
			DecidedAt:     noon,
			Status:        rec.Status,
		}
		if diff := cmp.Diff(want, grant); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("no metadata to publish, unless the keyspace does that", func(t *testing.T) {
		rec, req := good()
		rec.Key.Metadata = []byte(`{"plan":"pro"}`)
		grant, err := verifier.Decide(noon, rec, nil, req)
		if err != nil || grant.Metadata != nil || string(grant.KeyMetadata) != `{"plan":"pro"}` {
			t.Errorf("%s of %s, %v", grant.Metadata, grant.KeyMetadata, err)
		}
	})
	t.Run("no metadata that is too long for a token, and none of it lost", func(t *testing.T) {
		for size, published := range map[int]bool{verifier.MaxTokenMetadata: true, verifier.MaxTokenMetadata + 1: false} {
			rec, req := good()
			rec.Keyspace.PublishMetadata = true
			rec.Key.Metadata = []byte(`{"m":"` + strings.Repeat("x", size-8) + `"}`)
			grant, err := verifier.Decide(noon, rec, nil, req)
			if err != nil || (grant.Metadata != nil) != published || len(grant.KeyMetadata) != size {
				t.Errorf("%d bytes: %d to publish of %d, %v", size, len(grant.Metadata), len(grant.KeyMetadata), err)
			}
		}
	})
	t.Run("and charges the cost", func(t *testing.T) {
		rec, req := good()
		rec.Budget.Counted, rec.Budget.Remaining = true, 10
		req.Cost = 3
		if _, err := verifier.Decide(noon, rec, nil, req); err != nil || rec.Budget.Remaining != 7 {
			t.Errorf("remaining %d, %v", rec.Budget.Remaining, err)
		}
	})
	t.Run("and counts the use, by client and audience", func(t *testing.T) {
		rec, req := good()
		req.Cost = 3
		for range 2 {
			if _, err := verifier.Decide(noon, rec, nil, req); err != nil {
				t.Fatal(err)
			}
		}
		req.Client.ID = "billing"
		if _, err := verifier.Decide(noon, rec, nil, req); err != nil {
			t.Fatal(err)
		}
		want := []verifier.Use{
			{Client: "orders", Audience: "https://orders.example.com", Grants: 2, Cost: 6},
			{Client: "billing", Audience: "https://orders.example.com", Grants: 1, Cost: 3},
		}
		if diff := cmp.Diff(want, rec.Uses); diff != "" {
			t.Error(diff)
		}
	})
}

var exported = cmp.AllowUnexported(verifier.Interval{})

// clone copies what a decision may change.
func clone(rec *verifier.Record) *verifier.Record {
	c := *rec
	b := *rec.Budget
	c.Budget = &b
	return &c
}

func is(want error) func(error) bool {
	return func(err error) bool { return errors.Is(err, want) }
}

func as[T error](err error) bool {
	var e T
	return errors.As(err, &e)
}
