package sdktest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// Three lines, and a test has tokens of every kind.
func Example_refused() {
	iss := sdktest.Start()
	defer iss.Close()
	checker, _ := sdk.NewChecker(iss.CheckerConfig("https://orders.example.com"))

	for _, raw := range []string{
		iss.Token("https://orders.example.com", "projects:read"),
		iss.Token("https://billing.example.com"),
		iss.Expired("https://orders.example.com"),
		iss.Forged("https://orders.example.com"),
	} {
		_, err := checker.Check(context.Background(), raw)
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// refused: not for this audience
	// refused: expired
	// refused: signature does not verify
}

// The clock is the test's.
func ExampleIssuer_Advance() {
	iss := sdktest.Start()
	defer iss.Close()
	checker, _ := sdk.NewChecker(iss.CheckerConfig("https://orders.example.com"))
	raw := iss.Token("https://orders.example.com")

	_, err := checker.Check(context.Background(), raw)
	fmt.Println(err)
	iss.Advance(6 * time.Minute)
	_, err = checker.Check(context.Background(), raw)
	fmt.Println(err)
	// Output:
	// <nil>
	// refused: expired
}

// A key is revoked while a backend holds a token of it.
func ExampleIssuer_Revoke() {
	iss := sdktest.Start()
	defer iss.Close()
	iss.TrackStatus(3 * time.Second)
	checker, _ := sdk.NewChecker(iss.CheckerConfig("https://orders.example.com"))
	raw := iss.Token("https://orders.example.com")

	_, err := checker.Check(context.Background(), raw)
	fmt.Println(err)
	iss.Revoke(raw)
	iss.Advance(3 * time.Second) // the ttl of the list
	_, err = checker.Check(context.Background(), raw)
	fmt.Println(err)
	// Output:
	// <nil>
	// refused: revoked
}
