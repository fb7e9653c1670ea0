package sdktest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

const orders = "https://orders.example.com"

func Example() {
	iss := sdktest.Start()
	defer iss.Close()
	iss.SetTime(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC))
	client, err := sdk.NewClient(iss.ClientConfig("https://orders.example.com"))
	if err != nil {
		log.Fatal(err)
	}
	key := iss.AddKey(sdktest.Key{Limited: true, Uses: 1, RetryAfter: time.Hour})
	for range 3 {
		_, err = client.VerifyAPIKey(context.Background(), sdk.VerifyRequest{Key: key})
		fmt.Println(err)
		iss.Advance(10 * time.Minute)
	}
	iss.SetDown(true)
	_, err = client.VerifyAPIKey(context.Background(), sdk.VerifyRequest{Key: key})
	fmt.Println(errors.Is(err, sdk.ErrUnavailable))
	// Output:
	// <nil>
	// refused: spent, retry in 1h0m0s
	// refused: spent, retry in 1h0m0s
	// true
}

func TestEveryMintIsAsItSays(t *testing.T) {
	t.Parallel()
	iss := sdktest.Start()
	defer iss.Close()
	checker, err := sdk.NewChecker(iss.CheckerConfig(orders))
	if err != nil {
		t.Fatal(err)
	}
	later := iss.Claims(orders)
	later["nbf"] = iss.Now().Add(time.Minute).Unix()
	for name, test := range map[string]struct {
		raw string
		ok  bool
	}{
		"a token is good":                   {iss.Token(orders, "a:b"), true},
		"claims as they come are good":      {iss.Mint(iss.Claims(orders)), true},
		"an expired token is not":           {iss.Expired(orders), false},
		"a forged token is not":             {iss.Forged(orders), false},
		"claims changed may not be":         {iss.Mint(later), false},
		"a header changed may not be":       {iss.MintWith(sdktest.Header{"typ": "JWT"}, iss.Claims(orders)), false},
		"bytes that are no JSON are not":    {iss.Sign("{", "}"), false},
		"a token for another backend isn't": {iss.Token("other"), false},
	} {
		_, err := checker.Check(t.Context(), test.raw)
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysRotateInEveryAlgorithm(t *testing.T) {
	t.Parallel()
	iss := sdktest.Start()
	defer iss.Close()
	first := iss.Token(orders)
	for _, alg := range []sdk.Algorithm{sdk.ES256, sdk.RS256, sdk.EdDSA} {
		iss.Rotate(alg)
		checker, err := sdk.NewChecker(iss.CheckerConfig(orders))
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range []string{first, iss.Token(orders)} {
			if _, err := checker.Check(t.Context(), raw); err != nil {
				t.Errorf("%s: %v", alg, err)
			}
		}
	}
	if n := iss.Fetches(); n != 3 {
		t.Errorf("%d fetches counted", n)
	}
}

func TestTheClockMovesAndStands(t *testing.T) {
	t.Parallel()
	iss := sdktest.Start()
	defer iss.Close()
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	iss.SetTime(noon)
	iss.Advance(time.Hour)
	if got := iss.Now(); !got.Equal(noon.Add(time.Hour)) {
		t.Fatalf("got %v", got)
	}
}

func TestAKeyBringsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	iss := sdktest.Start()
	defer iss.Close()
	client, err := sdk.NewClient(iss.ClientConfig(orders))
	if err != nil {
		t.Fatal(err)
	}
	key := iss.AddKey(sdktest.Key{
		Key: "sk_1", ID: "key_9", Owner: "o", Keyspace: "secret", Lifetime: time.Minute,
		Permissions: sdk.Permissions{"a": {"b"}}, Metadata: map[string]int{"n": 1},
	})
	token, err := client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key, Keyspace: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(token.KeyID(), token.Subject(), token.Keyspace(), token.ExpiresAt().Sub(token.IssuedAt()), token.Permissions(), token.Scope(), string(token.Metadata()))
	if want := `key_9 o secret 1m0s map[a:[b]] a:b {"n":1}` + "\n"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	iss.RemoveKey(key)
	iss.Advance(2 * time.Minute)
	if _, err = client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key, Keyspace: "secret"}); !errors.Is(err, sdk.ErrRefused) {
		t.Fatalf("got %v", err)
	}
}
