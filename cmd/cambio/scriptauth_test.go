package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	gojose "github.com/go-jose/go-jose/v4"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cambio-auth/cambio/sdk"
)

// makekeys NAME… writes for each a key, NAME-key.pem, its public half as a JWK Set,
// NAME.jwks.json, and a certificate for the DNS name NAME and for loopback, NAME.pem,
// which is signed by the key of the first.
func cmdMakeKeys(ts *testscript.TestScript, _ bool, args []string) {
	var parent *x509.Certificate
	var signer crypto.Signer
	for i, name := range args {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		ts.Check(err)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: i == 0, BasicConstraintsValid: true,
		}
		if i == 0 {
			parent, signer = template, key
		}
		cert, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		ts.Check(err)
		private, err := x509.MarshalPKCS8PrivateKey(key)
		ts.Check(err)
		set, err := json.Marshal(gojose.JSONWebKeySet{Keys: []gojose.JSONWebKey{{Key: key.Public()}}})
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600))
		ts.Check(os.WriteFile(ts.MkAbs(name+"-key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
		ts.Check(os.WriteFile(ts.MkAbs(name+".jwks.json"), set, 0o600))
	}
}

// verifyas CLIENT assertion|certificate NAME KEYFILE AUDIENCE verifies a key as the sdk
// does, over TLS, with the key or certificate of NAME, and prints its owner.
func cmdVerifyAs(ts *testscript.TestScript, neg bool, args []string) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(readFile(ts, "ca.pem")))
	pair, err := tls.LoadX509KeyPair(ts.MkAbs(args[2]+".pem"), ts.MkAbs(args[2]+"-key.pem"))
	ts.Check(err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	config := sdk.ClientConfig{
		Issuer: strings.Replace(ts.Getenv("PUBLIC"), "http:", "https:", 1), ClientID: args[0], Audience: args[4],
		HTTPClient: &http.Client{Transport: transport},
	}
	if args[1] == "certificate" {
		config.MutualTLS, transport.TLSClientConfig.Certificates = true, []tls.Certificate{pair}
	} else {
		config.ClientKey = sdk.NewClientKey(pair.PrivateKey.(crypto.Signer), "")
	}
	client, err := sdk.NewClient(config)
	ts.Check(err)
	token, err := client.VerifyAPIKey(context.Background(), sdk.VerifyRequest{Key: readKey(ts, args[3])})
	if (err == nil) == neg {
		ts.Fatalf("verifying: %v", err)
	}
	if err == nil {
		_, _ = fmt.Fprintf(ts.Stdout(), "sub=%s client=%s\n", token.Subject(), token.ClientID())
	} else {
		_, _ = fmt.Fprintln(ts.Stderr(), err)
	}
}
