package sdktest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/internal/wire"
)

// verification is an online call, as it is charged and remembered.
type verification struct {
	wire.VerifyRequest
	cost int64
	name string // its idempotency key; empty: none
}

// verified is the first answer under an idempotency key.
type verified struct {
	asked  string
	answer wire.Verified
}

// verify decides one call as the real issuer does for a client with the rights
// keys:verify and keys:peek, whose audience is any.
func (i *Issuer) verify(w http.ResponseWriter, r *http.Request) {
	if !authenticated(r) {
		w.Header().Set("WWW-Authenticate", challenge)
		problem(w, http.StatusUnauthorized, "")
		return
	}
	call := verification{cost: 1, name: r.Header.Get(wire.HeaderIdempotencyKey)}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if decoder.Decode(&call.VerifyRequest) != nil {
		problem(w, http.StatusBadRequest, "")
		return
	}
	if call.Cost != nil {
		call.cost = *call.Cost
	}
	i.mu.Lock()
	answer, reused := i.decide(call)
	i.mu.Unlock()
	switch {
	case reused:
		problem(w, http.StatusUnprocessableEntity, wire.ReasonKeyReused)
		return
	case answer.RetryAfterMS > 0:
		w.Header().Set("Retry-After", strconv.FormatInt((answer.RetryAfterMS+999)/1000, 10))
	case answer.Replayed:
		w.Header().Set(wire.HeaderReplayed, "true")
	}
	reply(w, http.StatusOK, answer)
}

// decide charges a call, if all is well. It is called with mu held.
func (i *Issuer) decide(call verification) (answer wire.Verified, reused bool) {
	asked := string(must(json.Marshal(call.VerifyRequest)))
	first, repeated := i.verified[call.name]
	if repeated && first.asked != asked {
		return wire.Verified{}, true
	}
	key := i.keys[call.Key]
	if key == nil || i.calledBack(call.Key) || call.Keyspace != "" && call.Keyspace != key.keyspace() {
		return wire.Verified{Code: wire.CodeInvalid}, false
	}
	answer = key.answer(call.Audience)
	switch {
	case !permission.Covers(key.Permissions, call.Permissions):
		answer.Code = wire.ReasonPermission
		return answer, false
	case repeated:
		answer = first.answer
		answer.Replayed = true
		return answer, false
	case key.Limited && int64(key.Uses) < max(1, call.cost): // a peek is answered as a charge of 1
		answer.Code, answer.RetryAfterMS = wire.ReasonSpent, key.RetryAfter.Milliseconds()
		return answer, false
	case key.Limited:
		key.Uses -= int(call.cost)
		answer = key.answer(call.Audience)
	}
	answer.Valid, answer.Code = true, wire.CodeValid
	if call.Permissions != nil {
		answer.Key.Permissions = call.Permissions
	}
	if call.name != "" {
		i.verified[call.name] = verified{asked, answer}
	}
	return answer, false
}

// calledBack reports whether the status of a key is bad. It is called with mu held.
func (i *Issuer) calledBack(key string) bool {
	index, known := i.status.ofKey[key]
	return known && i.status.values[index] != wire.StatusValid
}

func (k Key) keyspace() string {
	if k.Keyspace == "" {
		return "default"
	}
	return k.Keyspace
}

// answer is what is said of k, whatever comes of the call.
func (k Key) answer(audience string) wire.Verified {
	held := map[string][]string{}
	for resource, actions := range maps.All(k.Permissions) {
		held[resource] = slices.Clone(actions)
	}
	said := wire.Verified{Audience: audience, Key: &wire.VerifiedKey{
		ID: k.ID, Owner: k.Owner, Keyspace: k.keyspace(), Permissions: held,
	}}
	if k.ID == "" {
		said.Key.ID = "key_1"
	}
	if k.Owner == "" {
		said.Key.Owner = "user_1"
	}
	if k.Metadata != nil {
		said.Key.Metadata = must(json.Marshal(k.Metadata))
	}
	if k.Limited {
		left := int64(k.Uses)
		said.Remaining = &left
	}
	return said
}

func problem(w http.ResponseWriter, status int, reason string) {
	w.Header().Set("Content-Type", wire.MediaProblem)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(wire.Problem{Title: http.StatusText(status), Status: status, Reason: reason}) // the client is gone: nobody to tell
}

// Verifications is how often a key was presented to be verified Online, while down
// included.
func (i *Issuer) Verifications() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.verifications
}
