package sdk

import (
	"cmp"
	"encoding/json"
	"errors"
	"time"

	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/internal/wire"
)

var (
	errVerdict  = errors.New("the issuer's answer about this key cannot be read")
	errOffTopic = errors.New("the issuer's answer is about another keyspace or audience")
)

// verdict turns the answer to an online call into what a token would say, or into
// the refusal that it is. An answer that is not to what was asked is no answer.
func (e *exchanger) verdict(a answer, keyspace string, call *onlineCall) (*verified, error) {
	said, err := readVerdict(a.body)
	switch {
	case err != nil:
		return nil, &UnavailableError{cause: err, charged: true}
	case !said.Valid:
		return nil, e.turnedDown(a, said, call)
	case said.Audience != e.audience, keyspace != "" && said.Key.Keyspace != keyspace:
		return nil, &UnavailableError{cause: errOffTopic, charged: true}
	}
	key := said.Key
	claims := claims{
		issuer: e.issuer, audience: e.audience, clientID: e.clientID,
		subject: cmp.Or(key.Owner, key.ID), keyID: key.ID, keyspace: key.Keyspace,
		permissions: key.Permissions, scope: permission.Scope(key.Permissions),
	}
	if key.ExpiresAt != nil {
		claims.expiresAt = key.ExpiresAt.Unix()
	}
	if string(key.Metadata) != "null" {
		claims.metadata = string(key.Metadata)
	}
	v := newVerified(claims, nil, nil)
	v.budget = budgetOf(said)
	return v, nil
}

// readVerdict takes nothing twice, as everywhere, and nothing half said.
func readVerdict(body string) (wire.Verified, error) {
	var said wire.Verified
	var r jsonReader
	r.read(body)
	r.skip()
	if r.end() != nil || json.Unmarshal([]byte(body), &said) != nil {
		return wire.Verified{}, errVerdict
	}
	if said.Valid != (said.Code == wire.CodeValid) || said.Code == "" || said.Valid && (said.Key == nil || said.Key.ID == "") {
		return wire.Verified{}, errVerdict
	}
	return said, nil
}

// turnedDown is the refusal that said is. A code that we do not know is one too.
func (e *exchanger) turnedDown(a answer, said wire.Verified, call *onlineCall) error {
	switch said.Code {
	case wire.ReasonAudience:
		return &ForbiddenError{Audience: e.audience}
	case wire.ReasonPermission:
		lacking := Permissions{}
		if said.Key != nil {
			lacking = missing(said.Key.Permissions, call.permissions)
		}
		if len(lacking) == 0 {
			lacking = missing(nil, call.permissions)
		}
		return &ForbiddenError{Needed: lacking}
	case wire.ReasonSpent, wire.ReasonRateLimited:
		wait, told := retryAfter(a.header, said.RetryAfterMS, e.now())
		return e.limited(said.Code, wait, told)
	}
	return errKeyRefused
}

func budgetOf(said wire.Verified) *Budget {
	var b Budget
	if said.Remaining != nil {
		b.Limited, b.Remaining = true, *said.Remaining
	}
	if said.RefillAt != nil {
		b.RefillAt = *said.RefillAt
	}
	if rate := said.RateLimit; rate != nil {
		b.RateLimit = RateLimit{
			Limit: rate.Limit, Window: time.Duration(rate.WindowMS) * time.Millisecond, Burst: rate.Burst,
			Remaining: rate.Remaining, ResetAt: rate.ResetAt,
		}
	}
	return &b
}
