package sdk_test

import (
	"crypto/ed25519"
	"fmt"
	"log"

	"github.com/cambio-auth/cambio/sdk"
)

// A client that signs assertions shares no secret with the issuer: that has the public
// half, from cambio client create --jwks.
func ExampleNewClientKey() {
	_, private, err := ed25519.GenerateKey(nil) // or any crypto.Signer, such as one in a key store
	if err != nil {
		log.Fatal(err)
	}
	client, err := sdk.NewClient(sdk.ClientConfig{
		Issuer: "https://keys.example.com", Audience: "https://orders.example.com",
		ClientID: "orders", ClientKey: sdk.NewClientKey(private, ""),
	})
	fmt.Println(client != nil, err)
	// Output: true <nil>
}
