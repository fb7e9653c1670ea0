package config

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

type env map[string]string

// read goes the way of the command line: variables, then flags.
func read(t *testing.T, vars env, args ...string) (Config, error) {
	t.Helper()
	for name, value := range vars {
		t.Setenv(name, value)
	}
	var s Settings
	parser, err := kong.New(&s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return s.Config(func(name string) string { return vars[name] })
}

func defaults(change func(*Config)) Config {
	c := Config{
		Listen:         "127.0.0.1:8080",
		OpsListen:      "127.0.0.1:9090",
		Store:          "sqlite:cambio.db",
		Groups:         1,
		UsageRetention: 400 * 24 * time.Hour,
		TokenLifetime:  5 * time.Minute,
		SigningAlgs:    []string{"EdDSA"},
		SigningPeriod:  30 * 24 * time.Hour,
		FailureLimit:   verifier.Rate{Limit: 60, Window: time.Minute, Burst: 60},
		LogFormat:      "text",
		LogLevel:       slog.LevelInfo,
	}
	if change != nil {
		change(&c)
	}
	return c
}

func TestSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		env  env
		args []string
		want Config
	}{
		"nothing set is a server for this machine": {want: defaults(nil)},
		"a variable that is set but empty counts as not set": {
			env: env{
				"CAMBIO_LISTEN": "", "CAMBIO_OPS_LISTEN": "", "CAMBIO_STORE": "", "CAMBIO_TOKEN_LIFETIME": "", "CAMBIO_SIGNING_ALGS": "", "CAMBIO_SIGNING_PERIOD": "",
				"CAMBIO_LOG_FORMAT": "", "CAMBIO_LOG_LEVEL": "", "CAMBIO_TRUSTED_PROXIES": "", "CAMBIO_MASTER_KEY": "", "CAMBIO_FAILURE_LIMIT": "",
			},
			want: defaults(nil),
		},
		"a flag goes before its variable": {
			env:  env{"CAMBIO_STORE": "sqlite:a.db"},
			args: []string{"--store", "sqlite:b.db"},
			want: defaults(func(c *Config) { c.Store = "sqlite:b.db" }),
		},
		"every setting can be given by its variable": {
			env: env{
				"CAMBIO_ISSUER": "https://keys.example.com", "CAMBIO_LISTEN": "0.0.0.0:443", "CAMBIO_OPS_LISTEN": ":9000",
				"CAMBIO_STORE": "postgres://db/cambio", "CAMBIO_MASTER_KEY_FILE": "/run/secrets/key",
				"CAMBIO_TOKEN_LIFETIME": "90s", "CAMBIO_SIGNING_ALGS": "ES256, EdDSA", "CAMBIO_SIGNING_PERIOD": "24h", "CAMBIO_TRUSTED_PROXIES": "10.1.2.3/8, 192.0.2.7,::1",
				"CAMBIO_TLS_CERT": "cert.pem", "CAMBIO_TLS_KEY": "key.pem",
				"CAMBIO_LOG_FORMAT": "json", "CAMBIO_LOG_LEVEL": "debug", "CAMBIO_GROUPS": "4", "CAMBIO_USAGE_RETENTION": "48h",
				"CAMBIO_FAILURE_LIMIT": "100/1h,20", "CAMBIO_MIGRATE": "off",
				"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "CAMBIO_TRUST_TRACEPARENT": "true",
			},
			want: Config{
				Issuer: "https://keys.example.com", Listen: "0.0.0.0:443", OpsListen: ":9000",
				Store: "postgres://db/cambio", MasterKeyFile: "/run/secrets/key",
				Groups: 4, NoMigrate: true, UsageRetention: 48 * time.Hour, TokenLifetime: 90 * time.Second, SigningAlgs: []string{"ES256", "EdDSA"}, SigningPeriod: 24 * time.Hour,
				TrustedProxies: []netip.Prefix{
					netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("::1/128"),
				},
				TLSCert: "cert.pem", TLSKey: "key.pem", LogFormat: "json", LogLevel: slog.LevelDebug,
				FailureLimit: verifier.Rate{Limit: 100, Window: time.Hour, Burst: 20},
				TracesURL:    "http://127.0.0.1:4318/v1/traces", TrustTraces: true,
			},
		},
		"every setting can be given by its flag": {
			args: []string{
				"--issuer=https://keys.example.com", "--listen=[::1]:1", "--ops-listen=[::1]:2", "--store=postgres:x",
				"--master-key-file=f", "--token-lifetime=1m", "--signing-algs=RS256", "--signing-period=2h", "--trusted-proxies=::1", "--tls-cert=c", "--tls-key=k",
				"--allow-http", "--log-format=json", "--log-level=warn", "--groups=3", "--usage-retention=72h", "--failure-limit=7/1s", "--trust-traceparent",
			},
			want: Config{
				Issuer: "https://keys.example.com", Listen: "[::1]:1", OpsListen: "[::1]:2", Store: "postgres:x",
				MasterKeyFile: "f", Groups: 3, UsageRetention: 72 * time.Hour, TokenLifetime: time.Minute, SigningAlgs: []string{"RS256"}, SigningPeriod: 2 * time.Hour,
				TrustedProxies: []netip.Prefix{netip.MustParsePrefix("::1/128")},
				TLSCert:        "c", TLSKey: "k", LogFormat: "json", LogLevel: slog.LevelWarn,
				FailureLimit: verifier.Rate{Limit: 7, Window: time.Second, Burst: 7}, TrustTraces: true,
			},
		},
		"plain HTTP beyond this machine is possible when it is asked for": {
			env:  env{"CAMBIO_LISTEN": ":8080", "CAMBIO_ALLOW_HTTP": "true", "CAMBIO_ISSUER": "http://keys.internal"},
			want: defaults(func(c *Config) { c.Listen, c.Issuer = ":8080", "http://keys.internal" }),
		},
		"an issuer may have a path": {
			env:  env{"CAMBIO_ISSUER": "https://example.com/keys"},
			want: defaults(func(c *Config) { c.Issuer = "https://example.com/keys" }),
		},
		"an issuer on this machine may be plain HTTP": {
			env:  env{"CAMBIO_ISSUER": "http://localhost:8080"},
			want: defaults(func(c *Config) { c.Issuer = "http://localhost:8080" }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(t, tt.env, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	key := issuer.NewMasterKey().Reveal()
	for name, tt := range map[string]struct {
		env  env
		want []string // setting and something it says
	}{
		"an address without a port":                        {env{"CAMBIO_LISTEN": "localhost"}, []string{"CAMBIO_LISTEN: must be HOST:PORT"}},
		"an address that is a URL":                         {env{"CAMBIO_LISTEN": "http://localhost:80"}, []string{"CAMBIO_LISTEN: must be HOST:PORT"}},
		"a port out of range":                              {env{"CAMBIO_OPS_LISTEN": "localhost:65536"}, []string{"CAMBIO_OPS_LISTEN: must be HOST:PORT"}},
		"one address for both listeners":                   {env{"CAMBIO_OPS_LISTEN": "127.0.0.1:8080"}, []string{"CAMBIO_OPS_LISTEN: must not be the same"}},
		"all interfaces without TLS":                       {env{"CAMBIO_LISTEN": ":8080"}, []string{"CAMBIO_LISTEN: beyond this machine"}},
		"another interface without TLS":                    {env{"CAMBIO_LISTEN": "192.0.2.1:8080"}, []string{"CAMBIO_ALLOW_HTTP=true"}},
		"an issuer of plain HTTP":                          {env{"CAMBIO_ISSUER": "http://keys.example.com"}, []string{"CAMBIO_ISSUER: must be https"}},
		"an issuer that is no URL":                         {env{"CAMBIO_ISSUER": "keys.example.com"}, []string{"CAMBIO_ISSUER: must be a URL"}},
		"an issuer without a host":                         {env{"CAMBIO_ISSUER": "https:///keys"}, []string{"CAMBIO_ISSUER: must be a URL"}},
		"an issuer of another scheme":                      {env{"CAMBIO_ISSUER": "ftp://keys.example.com"}, []string{"CAMBIO_ISSUER: must be a URL"}},
		"an issuer with a slash at its end":                {env{"CAMBIO_ISSUER": "https://keys.example.com/"}, []string{"CAMBIO_ISSUER: must not end with a slash"}},
		"an issuer with a query, even an empty one":        {env{"CAMBIO_ISSUER": "https://keys.example.com?"}, []string{"CAMBIO_ISSUER: must have no query"}},
		"an issuer with a fragment":                        {env{"CAMBIO_ISSUER": "https://keys.example.com#"}, []string{"CAMBIO_ISSUER: must have no query and no fragment"}},
		"an issuer with a password":                        {env{"CAMBIO_ISSUER": "https://u:hunter2@keys.example.com"}, []string{"CAMBIO_ISSUER: must hold no user"}},
		"TLS on all interfaces, so that a name is unknown": {env{"CAMBIO_LISTEN": ":443", "CAMBIO_TLS_CERT": "c", "CAMBIO_TLS_KEY": "k"}, []string{"CAMBIO_ISSUER: is required with TLS"}},
		"a certificate without its key":                    {env{"CAMBIO_TLS_CERT": "c"}, []string{"CAMBIO_TLS_KEY: is required"}},
		"authorities of clients without TLS":               {env{"CAMBIO_TLS_CLIENT_CA": "c"}, []string{"CAMBIO_TLS_CERT: is required with CAMBIO_TLS_CLIENT_CA"}},
		"certificates of clients without TLS":              {env{"CAMBIO_TLS_SELF_SIGNED": "true"}, []string{"CAMBIO_TLS_CERT: is required with CAMBIO_TLS_SELF_SIGNED"}},
		"a private key without its certificate":            {env{"CAMBIO_TLS_KEY": "k", "CAMBIO_LISTEN": ":443"}, []string{"CAMBIO_TLS_CERT: is required"}},
		"a token lifetime over the cap":                    {env{"CAMBIO_TOKEN_LIFETIME": "16m"}, []string{"CAMBIO_TOKEN_LIFETIME: must be whole seconds"}},
		"an algorithm that signs nothing here":             {env{"CAMBIO_SIGNING_ALGS": "EdDSA,HS256"}, []string{"CAMBIO_SIGNING_ALGS: must be some of EdDSA, ES256, RS256"}},
		"an algorithm twice":                               {env{"CAMBIO_SIGNING_ALGS": "EdDSA,EdDSA"}, []string{"CAMBIO_SIGNING_ALGS"}},
		"a signing period of minutes":                      {env{"CAMBIO_SIGNING_PERIOD": "59m"}, []string{"CAMBIO_SIGNING_PERIOD: must be at least 1h"}},
		"a token lifetime of no unit":                      {env{"CAMBIO_TOKEN_LIFETIME": "300"}, []string{"CAMBIO_TOKEN_LIFETIME"}},
		"a token lifetime below a second":                  {env{"CAMBIO_TOKEN_LIFETIME": "10ms"}, []string{"CAMBIO_TOKEN_LIFETIME"}},
		"a proxy that is a name":                           {env{"CAMBIO_TRUSTED_PROXIES": "10.0.0.1,proxy"}, []string{"CAMBIO_TRUSTED_PROXIES: must be addresses"}},
		"a master key that is none":                        {env{"CAMBIO_MASTER_KEY": "hunter2"}, []string{"CAMBIO_MASTER_KEY: master key must be 32 bytes"}},
		"two master keys":                                  {env{"CAMBIO_MASTER_KEY": key, "CAMBIO_MASTER_KEY_FILE": "f"}, []string{"CAMBIO_MASTER_KEY: is set, and so is CAMBIO_MASTER_KEY_FILE"}},
		"a collector that is no URL":                       {env{"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4318"}, []string{"OTEL_EXPORTER_OTLP_ENDPOINT: must be a URL"}},
		"a collector with a password":                      {env{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://u:hunter2@traces.example.com"}, []string{"OTEL_EXPORTER_OTLP_ENDPOINT: must be a URL"}},
		"a collector that is to be spoken to by gRPC":      {env{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, []string{"OTEL_EXPORTER_OTLP_ENDPOINT: traces are sent by http"}},
		"a log format of another kind":                     {env{"CAMBIO_LOG_FORMAT": "xml"}, []string{"CAMBIO_LOG_FORMAT: must be text or json"}},
		"a log level of another kind":                      {env{"CAMBIO_LOG_LEVEL": "loud"}, []string{"CAMBIO_LOG_LEVEL: must be debug"}},
		"no group is no number of groups":                  {env{"CAMBIO_GROUPS": "0", "CAMBIO_STORE": "postgres://db/x", "CAMBIO_MASTER_KEY_FILE": "f"}, []string{"CAMBIO_GROUPS: must be a number from 1 to 4"}},
		"five groups are one too many":                     {env{"CAMBIO_GROUPS": "5", "CAMBIO_STORE": "postgres://db/x", "CAMBIO_MASTER_KEY_FILE": "f"}, []string{"CAMBIO_GROUPS: must be a number from 1 to 4"}},
		"PostgreSQL needs a master key":                    {env{"CAMBIO_STORE": "postgres://db/x"}, []string{"CAMBIO_MASTER_KEY: or CAMBIO_MASTER_KEY_FILE is required"}},
		"a path of an issuer that reads in two ways":       {env{"CAMBIO_ISSUER": "https://example.com/a//b"}, []string{"CAMBIO_ISSUER: must have a plain path"}},
		"SQLite has one writer":                            {env{"CAMBIO_GROUPS": "2"}, []string{"CAMBIO_GROUPS: must be 1 on SQLite"}},
		"nobody perhaps migrates":                          {env{"CAMBIO_MIGRATE": "perhaps"}, []string{"CAMBIO_MIGRATE: must be on or off"}},
		"usage of an hour is no retention":                 {env{"CAMBIO_USAGE_RETENTION": "1h"}, []string{"CAMBIO_USAGE_RETENTION: must be at least 24h"}},
		"a failure limit without a window":                 {env{"CAMBIO_FAILURE_LIMIT": "60"}, []string{"CAMBIO_FAILURE_LIMIT: must be COUNT/WINDOW"}},
		"no failure is no limit":                           {env{"CAMBIO_FAILURE_LIMIT": "0/1m"}, []string{"CAMBIO_FAILURE_LIMIT: must be COUNT/WINDOW"}},
		"several mistakes are told together": {
			env{"CAMBIO_LISTEN": "x", "CAMBIO_ISSUER": "y", "CAMBIO_TOKEN_LIFETIME": "z", "CAMBIO_MASTER_KEY": "hunter2"},
			[]string{"CAMBIO_LISTEN:", "CAMBIO_ISSUER:", "CAMBIO_TOKEN_LIFETIME:", "CAMBIO_MASTER_KEY:"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(t, tt.env)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if got := strings.Count(err.Error(), "\n") + 1; got != len(tt.want) {
				t.Errorf("%d mistakes told, want %d: %v", got, len(tt.want), err)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), key) {
				t.Error("the error tells a secret")
			}
		})
	}
}

func TestMasterKeyComesFromTheEnvironment(t *testing.T) {
	want := issuer.NewMasterKey().Reveal()
	c, err := read(t, env{"CAMBIO_MASTER_KEY": want})
	if err != nil {
		t.Fatal(err)
	}
	if c.MasterKey == nil || c.MasterKey.Reveal() != want {
		t.Error("another key was read")
	}
}

func TestIssuerIsMadeFromTheListenAddress(t *testing.T) {
	for name, tt := range map[string]struct {
		config Config
		port   int
		want   string
	}{
		"as it was given":                           {Config{Listen: "localhost:8080"}, 8080, "http://localhost:8080"},
		"with the port that was taken":              {Config{Listen: "127.0.0.1:0"}, 4711, "http://127.0.0.1:4711"},
		"for all interfaces, this machine's":        {Config{Listen: "0.0.0.0:8080"}, 8080, "http://127.0.0.1:8080"},
		"for all interfaces of both families":       {Config{Listen: ":8080"}, 8080, "http://127.0.0.1:8080"},
		"in brackets for IPv6":                      {Config{Listen: "[::1]:8080"}, 8080, "http://[::1]:8080"},
		"without the standard port":                 {Config{Listen: "localhost:80"}, 80, "http://localhost"},
		"by https with TLS":                         {Config{Listen: "keys.example.com:443", TLSCert: "c"}, 443, "https://keys.example.com"},
		"by https with TLS on a port":               {Config{Listen: "localhost:8443", TLSCert: "c"}, 8443, "https://localhost:8443"},
		"not at all when the issuer has been given": {Config{Listen: "localhost:8080", Issuer: "https://keys.example.com"}, 8080, "https://keys.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tt.config.IssuerAt(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tt.port})
			if got != tt.want {
				t.Errorf("issuer %s, want %s", got, tt.want)
			}
		})
	}
}

func TestWhereTracesAreSent(t *testing.T) {
	for name, tt := range map[string]struct {
		env  env
		want string
	}{
		"nowhere by default":                             {},
		"nowhere if OpenTelemetry is disabled":           {env: env{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}},
		"below the endpoint for everything":              {env{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp/"}, "https://c/otlp/v1/traces"},
		"to the endpoint for traces as it is":            {env{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/in"}, "http://c/in"},
		"by the protocol that is ours, if it is said so": {env{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http://c/v1/traces"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(t, tt.env)
			if err != nil || got.TracesURL != tt.want {
				t.Errorf("%q, %v", got.TracesURL, err)
			}
		})
	}
}
