// Package config reads settings: flags and environment in, a checked Config out.
// It decides which settings make sense together; what they open (files,
// databases, sockets) is opened elsewhere, by those who use it.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// Defaults, also of a variable that is set but empty.
const (
	DefaultListen    = "127.0.0.1:8080"
	DefaultOpsListen = "127.0.0.1:9090"
	DefaultStore     = "sqlite:cambio.db"
)

// EnvMasterKey holds the master key itself. A secret is never a flag, since
// every user of a machine can read the command lines of all others.
const EnvMasterKey = "CAMBIO_MASTER_KEY"

// Store names the database. It stands alone for commands that need no more.
type Store struct {
	Store string `placeholder:"URL" env:"CAMBIO_STORE" default:"sqlite:cambio.db" help:"The database: sqlite:PATH or postgres://…; a URL with a password belongs into the environment. Default: sqlite:cambio.db."`
}

// Migrate says who brings the schema of the store up to date.
type Migrate struct {
	Migrate string `placeholder:"on|off" env:"CAMBIO_MIGRATE" default:"on" help:"Whether to bring the schema of the store up to date; off: fail where cambio migrate has to be run first. Default: on."`
}

// Off fails for what is neither on nor off, by the name of the setting.
func (m Migrate) Off() (bool, error) {
	switch m.Migrate {
	case "", "on":
		return false, nil
	case "off":
		return true, nil
	}
	return false, errors.New("CAMBIO_MIGRATE: must be on or off")
}

// Settings are the settings of a server as given, by flag or environment.
// What is not a plain word is parsed by Config, so that all mistakes are told
// together.
type Settings struct {
	Issuer         string   `placeholder:"URL" env:"CAMBIO_ISSUER" help:"The URL that clients reach this server by, and the iss of its tokens. Default: made from --listen."`
	Listen         string   `placeholder:"ADDR" env:"CAMBIO_LISTEN" default:"127.0.0.1:8080" help:"Where clients are served. Default: 127.0.0.1:8080."`
	OpsListen      string   `placeholder:"ADDR" env:"CAMBIO_OPS_LISTEN" default:"127.0.0.1:9090" help:"Where health is served; plain HTTP, keep it private. Default: 127.0.0.1:9090."`
	MasterKeyFile  string   `placeholder:"PATH" env:"CAMBIO_MASTER_KEY_FILE" help:"File with the master key, which seals the signing keys in the store. Or put the key itself into the environment as CAMBIO_MASTER_KEY. Default: cambio.key beside an SQLite database, made at the first start."`
	Groups         string   `placeholder:"N" env:"CAMBIO_GROUPS" default:"1" help:"How many groups of charges are committed at a time, 1 to 4, on PostgreSQL. More help where the disk stalls. Default: 1."`
	UsageRetention string   `placeholder:"DURATION" env:"CAMBIO_USAGE_RETENTION" default:"9600h" help:"How long usage is kept, by the hour. Default: 9600h, 400 days."`
	TokenLifetime  string   `placeholder:"DURATION" env:"CAMBIO_TOKEN_LIFETIME" default:"5m" help:"How long a token lives, at most 15m; a keyspace may say less. Default: 5m."`
	SigningAlgs    []string `name:"signing-algs" placeholder:"ALG,…" env:"CAMBIO_SIGNING_ALGS" help:"Algorithms that tokens are signed with: EdDSA, ES256, RS256. The first is for every client that was not given another. Default: EdDSA."`
	SigningPeriod  string   `placeholder:"DURATION" env:"CAMBIO_SIGNING_PERIOD" default:"720h" help:"How long a key signs before the next does, at least 1h. Default: 720h, 30 days."`
	FailureLimit   string   `placeholder:"RATE" env:"CAMBIO_FAILURE_LIMIT" default:"60/1m" help:"How many bad keys of a client and address, and how many failures of an address to authenticate, are told apart; what is bad beyond that is answered 429. Good keys and credentials are never refused. Default: 60/1m."`
	TrustedProxies []string `placeholder:"CIDR" env:"CAMBIO_TRUSTED_PROXIES" help:"Addresses or networks of proxies whose X-Forwarded-For is believed, separated by commas."`
	TLSCert        string   `name:"tls-cert" placeholder:"PATH" env:"CAMBIO_TLS_CERT" help:"Certificate chain, PEM. Read again when the file changes."`
	TLSKey         string   `name:"tls-key" placeholder:"PATH" env:"CAMBIO_TLS_KEY" help:"Private key of the certificate, PEM."`
	TLSClientCA    string   `name:"tls-client-ca" placeholder:"PATH" env:"CAMBIO_TLS_CLIENT_CA" help:"Authorities, PEM, whose certificates clients may authenticate with (tls_client_auth), beside those of their own making. Read again when the file changes. Default: clients are asked for no certificate."`
	TLSSelfSigned  bool     `name:"tls-self-signed" env:"CAMBIO_TLS_SELF_SIGNED" help:"Ask clients for certificates of their own making alone (self_signed_tls_client_auth)."`
	AllowHTTP      bool     `name:"allow-http" env:"CAMBIO_ALLOW_HTTP" help:"Allow plain HTTP beyond this machine. Keys and tokens then travel in the clear: only behind a proxy that does TLS."`
	TrustTraces    bool     `name:"trust-traceparent" env:"CAMBIO_TRUST_TRACEPARENT" help:"Make a caller's traceparent the parent of its request, not only a link: only behind a gateway that sets it. Traces are sent if OTEL_EXPORTER_OTLP_ENDPOINT is set."`
	LogFormat      string   `placeholder:"FORMAT" env:"CAMBIO_LOG_FORMAT" default:"text" help:"text or json. Default: text."`
	LogLevel       string   `placeholder:"LEVEL" env:"CAMBIO_LOG_LEVEL" default:"info" help:"debug, info, warn or error. Default: info."`
	Store          `embed:""`
	Migrate        `embed:""`
}

// Config is what a server is told. All of it has been checked, apart from what
// only opening can tell.
type Config struct {
	Issuer         string // empty: see IssuerAt
	Listen         string
	OpsListen      string
	Store          string
	NoMigrate      bool              // leave the schema of the store as it is
	MasterKey      *issuer.MasterKey // nil: not in the environment
	MasterKeyFile  string
	Groups         int
	UsageRetention time.Duration
	TokenLifetime  time.Duration
	SigningAlgs    []string // the default first
	SigningPeriod  time.Duration
	FailureLimit   verifier.Rate
	TrustedProxies []netip.Prefix
	TLSCert        string // empty: plain HTTP
	TLSKey         string
	TLSClientCA    string // empty: no authority names clients
	TLSSelfSigned  bool   // clients are asked for certificates without it too
	TracesURL      string // where traces are posted; empty: nowhere
	TrustTraces    bool
	LogFormat      string // text or json
	LogLevel       slog.Level
}

// Config checks the settings. Its error tells every mistake, by the name of the
// setting and never by its value.
func (s Settings) Config(getenv func(string) string) (Config, error) {
	c := Config{
		Issuer:        s.Issuer,
		Listen:        cmp.Or(s.Listen, DefaultListen),
		OpsListen:     cmp.Or(s.OpsListen, DefaultOpsListen),
		Store:         cmp.Or(s.Store.Store, DefaultStore),
		MasterKeyFile: s.MasterKeyFile,
		TLSCert:       s.TLSCert,
		TLSKey:        s.TLSKey,
		TLSClientCA:   s.TLSClientCA,
		TLSSelfSigned: s.TLSSelfSigned,
		TrustTraces:   s.TrustTraces,
		LogFormat:     cmp.Or(s.LogFormat, "text"),
	}
	var m mistakes
	m.check("CAMBIO_LISTEN", s.checkListen(c))
	m.check("CAMBIO_OPS_LISTEN", checkOpsListen(c))
	m.check("CAMBIO_ISSUER", s.checkIssuer(c))
	m.check(c.checkTLS())

	var err error
	c.TokenLifetime, err = parseTokenLifetime(s.TokenLifetime)
	m.check("CAMBIO_TOKEN_LIFETIME", err)
	c.SigningAlgs, err = parseAlgs(s.SigningAlgs)
	m.check("CAMBIO_SIGNING_ALGS", err)
	c.SigningPeriod, err = parsePeriod(s.SigningPeriod)
	m.check("CAMBIO_SIGNING_PERIOD", err)
	c.Groups, err = parseGroups(s.Groups, c.Store)
	m.check("CAMBIO_GROUPS", err)
	c.UsageRetention, err = parseRetention(s.UsageRetention)
	m.check("CAMBIO_USAGE_RETENTION", err)
	c.FailureLimit, err = parseFailureLimit(s.FailureLimit)
	m.check("CAMBIO_FAILURE_LIMIT", err)
	c.TrustedProxies, err = parseProxies(s.TrustedProxies)
	m.check("CAMBIO_TRUSTED_PROXIES", err)
	c.TracesURL, err = tracesURL(getenv)
	m.check("OTEL_EXPORTER_OTLP_ENDPOINT", err)
	c.MasterKey, err = parseMasterKey(getenv(EnvMasterKey), s.MasterKeyFile, c.Store)
	m.check(EnvMasterKey, err)
	if c.NoMigrate, err = s.Off(); err != nil {
		m = append(m, err)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		m.check("CAMBIO_LOG_FORMAT", errors.New("must be text or json"))
	}
	if c.LogLevel.UnmarshalText([]byte(cmp.Or(s.LogLevel, "info"))) != nil {
		m.check("CAMBIO_LOG_LEVEL", errors.New("must be debug, info, warn or error"))
	}
	if err := errors.Join(m...); err != nil {
		return Config{}, err
	}
	return c, nil
}

// TLS reports whether clients are served by TLS.
func (c Config) TLS() bool { return c.TLSCert != "" }

// IssuerAt returns the issuer of a server that listens at addr, which has the
// port that was really taken.
func (c Config) IssuerAt(addr net.Addr) string {
	if c.Issuer != "" {
		return c.Issuer
	}
	host, _, _ := net.SplitHostPort(c.Listen)
	_, port, _ := net.SplitHostPort(addr.String())
	return defaultIssuer(host, port, c.TLS())
}

// mistakes collects them, each under the name of its setting.
type mistakes []error

func (m *mistakes) check(setting string, err error) {
	if err != nil {
		*m = append(*m, fmt.Errorf("%s: %w", setting, err))
	}
}
