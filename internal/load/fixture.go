package load

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

const (
	audience = "https://orders.example.com"
	clientID = "bench"
	keyspace = "default"
	uses     = 1_000_000_000 // of every key: counted, and never spent
)

// Fixture is the client and the keys of a benchmark, which are worth nothing
// outside its store. It crosses to a server in memory as JSON.
type Fixture struct {
	Secret string
	Keys   []string
}

// NewFixture makes a client's secret and some keys.
func NewFixture(keys int) (Fixture, error) {
	secret, err := verifier.GenerateKey("cs")
	if err != nil {
		return Fixture{}, err
	}
	f := Fixture{Secret: secret.Reveal()}
	for range keys {
		key, err := verifier.GenerateKey("ck")
		if err != nil {
			return Fixture{}, err
		}
		f.Keys = append(f.Keys, key.Reveal())
	}
	return f, nil
}

// Client is the one that exchanges the keys.
func (f Fixture) Client() client.Client {
	return client.Client{
		ID:        clientID,
		Rights:    []client.Right{client.TokensExchange},
		Audiences: []string{audience},
		Keyspaces: []string{client.AnyKeyspace},
		Secrets:   []client.Secret{{Digest: verifier.NewSecret(f.Secret).Digest()}},
		CreatedAt: time.Now().UTC(),
		Version:   1,
	}
}

// Record is the i-th key and its budget: a counted one, so that every exchange
// has something to write.
func (f Fixture) Record(i int) (verifier.Key, verifier.Budget) {
	id := fmt.Sprintf("%032x", i)
	budget := verifier.Budget{ID: verifier.BudgetID("bud_" + id), Counted: true, Remaining: uses}
	return verifier.Key{
		ID:          verifier.KeyID("key_" + id),
		Digest:      verifier.NewSecret(f.Keys[i]).Digest(),
		Start:       f.Keys[i][:7],
		Keyspace:    keyspace,
		Owner:       "user_" + strconv.Itoa(i),
		Permissions: verifier.Permissions{"projects": {"read", "write"}, "invoices": {"read"}},
		State:       verifier.Active,
		CreatedAt:   time.Now().UTC(),
		ExpiresAt:   time.Now().UTC().Truncate(time.Second).Add(30 * 24 * time.Hour),
	}, budget
}

// Keys are what a load presents, all of one length.
type Keys struct {
	N      int
	Append func(dst []byte, i int) []byte // the i-th, 0 ≤ i < N
}

// All are the keys of f, used evenly.
func (f Fixture) All() Keys {
	return Keys{len(f.Keys), func(dst []byte, i int) []byte { return append(dst, f.Keys[i]...) }}
}

// Hot is the first key of f alone.
func (f Fixture) Hot() Keys {
	return Keys{1, func(dst []byte, _ int) []byte { return append(dst, f.Keys[0]...) }}
}

// request is all that precedes the key in a request, whose last bytes it is.
func (f Fixture) request(host string, k Keys) []byte {
	form := wire.FieldGrantType + "=" + wire.GrantTokenExchange +
		"&" + wire.FieldSubjectTokenType + "=" + wire.TypeAPIKey +
		"&" + wire.FieldAudience + "=" + audience +
		"&" + wire.FieldSubjectToken + "="
	length := len(form) + len(k.Append(nil, 0))
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		wire.PathToken, host, base64.StdEncoding.EncodeToString([]byte(clientID+":"+f.Secret)), wire.MediaForm, length, form)
}
