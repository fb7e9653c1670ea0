package sdk

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// maxIdempotencyKey is the longest that the issuer takes, in bytes.
const maxIdempotencyKey = 255

// VerifyRequest asks whether a key is good. It does not print the key.
//
// With Key alone, the answer may be as old as the token that the key was last
// exchanged for: most calls are answered locally and charge nothing. MaxAge and
// Online ask for more, and are paid for in charges.
type VerifyRequest struct {
	Key         string      `json:"-"` // required: the API key as presented
	Keyspace    string      // where the key must belong; zero: ClientConfig.Keyspace
	Permissions Permissions // what it must allow, all of it; zero: nothing in particular

	// MaxAge is how old the answer may be: the exchange that it rests on must
	// have started no longer before this call, by our clock. If none has, one is
	// made, which is a charge, and waited for; callers at the same time share it.
	// When it cannot be made, the call fails, although a token may be kept. Zero:
	// as old as the token lives; negative: a mistake of the caller.
	MaxAge time.Duration

	// Online has the issuer decide about this call alone, without a token: each
	// call is a charge, so that every use is counted exactly, and a revoked key is
	// refused at once. A refusal charges nothing. Nothing remembered answers the
	// call, but for a time to wait, and no grant is remembered of it. Our client
	// needs the right keys:verify. Zero: the issuer is asked only if needed.
	//
	// The Token that it returns is what the issuer answers, not a token: it has no
	// ID and no IssuedAt, expires with the key, and knows the Budget. It carries
	// the Permissions asked and no others, or all, if none are asked.
	Online bool

	// Cost is how many uses an Online call charges, all or none. Zero: 1. Only
	// Online: an exchange is charged 1, and so is every call that shares it.
	Cost int64

	// Peek has an Online call answered as if it charged 1, and charges nothing:
	// to show what is left. Our client needs the right keys:peek too.
	Peek bool

	// IdempotencyKey names what an Online call charges for, so that it is charged
	// once however often it is asked: 1 to 255 printable ASCII characters, such as
	// the id of the request that is served. Within 24 hours a call that asks the
	// same is answered as the first was, if the key is still good. It is repeated
	// where the outcome is unknown, within the time of one call. Zero: the call is
	// one of its own, and never repeated if it may have been charged.
	IdempotencyKey string
}

// String leaves out the key.
func (r VerifyRequest) String() string {
	return fmt.Sprintf("{Key:%s Keyspace:%s Permissions:%v MaxAge:%v Online:%t Cost:%d Peek:%t IdempotencyKey:%q}",
		redacted, r.Keyspace, r.Permissions, r.MaxAge, r.Online, r.Cost, r.Peek, r.IdempotencyKey)
}

// GoString leaves out the key.
func (r VerifyRequest) GoString() string { return "sdk.VerifyRequest" + r.String() }

// LogValue leaves out the key.
func (r VerifyRequest) LogValue() slog.Value { return slog.StringValue(r.String()) }

// validate finds mistakes of the caller, whatever the key.
func (r VerifyRequest) validate() error {
	for resource, actions := range r.Permissions {
		if len(actions) == 0 {
			return fmt.Errorf("permissions: no actions asked of %q", resource)
		}
	}
	switch {
	case r.MaxAge < 0:
		return fmt.Errorf("the MaxAge is negative: %v", r.MaxAge)
	case r.Cost < 0:
		return fmt.Errorf("the Cost is negative: %d", r.Cost)
	case !r.Online && r.Cost > 1:
		return errors.New("a Cost other than 1 is only for calls that ask to be Online")
	case !r.Online && (r.Peek || r.IdempotencyKey != ""):
		return errors.New("a Peek and an IdempotencyKey are only for calls that ask to be Online")
	case r.Peek && (r.Cost != 0 || r.IdempotencyKey != ""):
		return errors.New("a Peek charges nothing: it has no Cost and no IdempotencyKey")
	case len(r.IdempotencyKey) > maxIdempotencyKey, strings.ContainsFunc(r.IdempotencyKey, unprintable):
		return fmt.Errorf("the IdempotencyKey is not 1 to %d printable ASCII characters", maxIdempotencyKey)
	}
	return nil
}

func unprintable(c rune) bool { return c < ' ' || c > '~' }

// missing is what of asked is not held.
func missing(held, asked map[string][]string) Permissions {
	lacking := Permissions{}
	for resource, actions := range asked {
		for _, action := range actions {
			if !slices.Contains(held[resource], action) {
				lacking[resource] = append(lacking[resource], action)
			}
		}
	}
	return lacking
}
