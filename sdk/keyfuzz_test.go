package sdk

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"
	"time"
)

// Whatever is in the file: what we take from it is a set for our address, in use
// from when it was fetched until its time is over, and says the same when it is
// written again.
func FuzzKeyFile(f *testing.F) {
	const (
		address = "https://issuer.example.com/.well-known/jwks.json"
		head    = `{"jwks_url":"` + address + `","fetched":1777896000,"max_age":300}`
		set     = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a","alg":"EdDSA"}]}`
	)
	file := newKeyFile("unused", address, nil)
	f.Add([]byte(head+"\n"+set), true)
	f.Add([]byte(head+"\n"+set), false)
	f.Add([]byte(head+"\n{}"), true)
	f.Add([]byte(`{"fetched":-1,"max_age":3600,"jwks_url":"https:\/\/issuer.example.com\/.well-known\/jwks.json","more":{}}`+"\n"+set), true)
	f.Add(file.encode(storedSet{[]byte(set), time.Unix(1777896000, 0), time.Hour}), false)
	f.Fuzz(func(t *testing.T, text []byte, sealed bool) {
		if sealed {
			sum := sha256.Sum256(text)
			text = append(hex.AppendEncode(nil, sum[:]), append([]byte("\n"), text...)...)
		}
		got, keys, err := file.decode(string(text))
		if err != nil {
			return
		}
		if len(keys) == 0 || len(keys) > maxKeys || got.maxAge < 0 || got.maxAge > longestMaxAge || !bytes.Contains(text, got.body) {
			t.Fatalf("took %d keys for %v", len(keys), got.maxAge)
		}
		for kid, key := range keys {
			if kid != key.kid || !key.fits() {
				t.Fatal("took a key that is not for us")
			}
		}
		again, same, err := file.decode(string(file.encode(got)))
		if err != nil || len(same) != len(keys) || !bytes.Equal(again.body, got.body) || !again.fetched.Equal(got.fetched) || again.maxAge != got.maxAge {
			t.Fatalf("written again it says %v, %v", again, err)
		}
		other := newKeyFile("unused", "https://other.example.com/jwks.json", nil)
		if _, _, err := other.decode(string(text)); !errors.Is(err, errKeyFileURL) {
			t.Fatalf("another issuer takes it: %v", err)
		}
		loadedAt(t, file, text, got)
	})
}

// loadedAt looks at the edges of its time.
func loadedAt(t *testing.T, file *keyFile, text []byte, got storedSet) {
	t.Helper()
	if n := got.fetched.Unix(); n < -1<<40 || n > 1<<40 {
		return // where time itself may wrap
	}
	disk := newKeyFile("unused", file.url, nil)
	disk.read = func(string) ([]byte, error) { return text, nil }
	const stale = time.Minute
	end := got.fetched.Add(got.maxAge + stale)
	for now, want := range map[time.Time]error{
		got.fetched.Add(-1): errKeyFileFuture, got.fetched: nil, end.Add(-1): nil, end: errKeyFileAge,
	} {
		if _, _, err := disk.load(func() time.Time { return now }, stale); !errors.Is(err, want) {
			t.Fatalf("fetched %v, for %v and a minute; at %v: %v, want %v", got.fetched, got.maxAge, now, err, want)
		}
	}
}
