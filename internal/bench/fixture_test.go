package bench

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

// fixture is the client and the keys of a benchmark. It crosses to the server
// as JSON.
type fixture struct {
	Secret string
	Keys   []string
}

func newFixture(keys int) (fixture, error) {
	secret, err := verifier.GenerateKey("cs")
	if err != nil {
		return fixture{}, err
	}
	f := fixture{Secret: secret.Reveal()}
	for range keys {
		key, err := verifier.GenerateKey("ck")
		if err != nil {
			return fixture{}, err
		}
		f.Keys = append(f.Keys, key.Reveal())
	}
	return f, nil
}

func (f fixture) client() client.Client {
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

// record is the i-th key and its budget: a counted one, so that every exchange
// has something to write.
func (f fixture) record(i int) (verifier.Key, verifier.Budget) {
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

// keys are what a load presents, all of one length.
type keys struct {
	n      int
	append func(dst []byte, i int) []byte
}

func (f fixture) all() keys {
	return keys{len(f.Keys), func(dst []byte, i int) []byte { return append(dst, f.Keys[i]...) }}
}

func (f fixture) hot() keys {
	return keys{1, func(dst []byte, _ int) []byte { return append(dst, f.Keys[0]...) }}
}

// request is all that precedes the key in a request, whose last bytes it is.
func (f fixture) request(host string, k keys) []byte {
	form := wire.FieldGrantType + "=" + wire.GrantTokenExchange +
		"&" + wire.FieldSubjectTokenType + "=" + wire.TypeAPIKey +
		"&" + wire.FieldAudience + "=" + audience +
		"&" + wire.FieldSubjectToken + "="
	length := len(form) + len(k.append(nil, 0))
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		wire.PathToken, host, base64.StdEncoding.EncodeToString([]byte(clientID+":"+f.Secret)), wire.MediaForm, length, form)
}
