package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/failures"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

var errAddress = errors.New("must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")

func (s Settings) checkListen(c Config) error {
	host, err := listenHost(c.Listen)
	if err != nil {
		return err
	}
	if !loopback(host) && !c.TLS() && c.TLSKey == "" && !s.AllowHTTP {
		return errors.New("beyond this machine needs CAMBIO_TLS_CERT and CAMBIO_TLS_KEY, or CAMBIO_ALLOW_HTTP=true behind a proxy that does TLS")
	}
	return nil
}

func checkOpsListen(c Config) error {
	_, err := listenHost(c.OpsListen)
	_, port, _ := net.SplitHostPort(c.OpsListen)
	if err == nil && c.OpsListen == c.Listen && port != "0" {
		return errors.New("must not be the same as CAMBIO_LISTEN")
	}
	return err
}

func listenHost(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", errAddress
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || strings.ContainsAny(host, "/ ") {
		return "", errAddress
	}
	return host, nil
}

// checkIssuer holds issuers to RFC 8414 §2. They are compared byte for byte, so
// a slash at the end is a difference, and one that is easily overlooked.
func (s Settings) checkIssuer(c Config) error {
	if c.Issuer == "" {
		return checkDefaultIssuer(c)
	}
	if _, err := issuer.Path(c.Issuer); err != nil {
		return err
	}
	u, err := url.Parse(c.Issuer)
	if err == nil && u.Scheme == "http" && !loopback(u.Hostname()) && !s.AllowHTTP {
		err = errors.New("must be https, or CAMBIO_ALLOW_HTTP=true must be set")
	}
	return err
}

// checkDefaultIssuer refuses to guess the name in a certificate.
func checkDefaultIssuer(c Config) error {
	host, err := listenHost(c.Listen)
	if err == nil && c.TLS() && unspecified(host) {
		return errors.New("is required with TLS on all interfaces: the URL with the name in the certificate")
	}
	return nil
}

// defaultIssuer is the listen address as a URL. A server on all interfaces can
// be reached from its own machine, at least.
func defaultIssuer(host, port string, tls bool) string {
	if unspecified(host) {
		host = "127.0.0.1"
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
	standard := "80"
	if tls {
		u.Scheme, standard = "https", "443"
	}
	if port == standard {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.String()
}

func unspecified(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || (err == nil && addr.IsUnspecified())
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && addr.Unmap().IsLoopback())
}

func (c Config) checkTLS() (string, error) {
	switch {
	case c.TLSCert != "" && c.TLSKey == "":
		return "CAMBIO_TLS_KEY", errors.New("is required with CAMBIO_TLS_CERT")
	case c.TLSCert == "" && c.TLSKey != "":
		return "CAMBIO_TLS_CERT", errors.New("is required with CAMBIO_TLS_KEY")
	case c.TLSCert == "" && c.TLSClientCA != "":
		return "CAMBIO_TLS_CERT", errors.New("is required with CAMBIO_TLS_CLIENT_CA: a certificate counts only on a connection that we end ourselves")
	case c.TLSCert == "" && c.TLSSelfSigned:
		return "CAMBIO_TLS_CERT", errors.New("is required with CAMBIO_TLS_SELF_SIGNED: a certificate counts only on a connection that we end ourselves")
	}
	return "", nil
}

func parseTokenLifetime(s string) (time.Duration, error) {
	if s == "" {
		return issuer.DefaultLifetime, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d > issuer.MaxLifetime || d%time.Second != 0 {
		return 0, errors.New("must be whole seconds from 1s to 15m, such as 5m")
	}
	return d, nil
}

func parseAlgs(list []string) ([]string, error) {
	var algs []string
	for _, alg := range list {
		alg = strings.TrimSpace(alg)
		switch {
		case alg == "":
		case !issuer.KnownAlgorithm(alg) || slices.Contains(algs, alg):
			return nil, fmt.Errorf("must be some of %s, each once, separated by commas", strings.Join(issuer.Algorithms(), ", "))
		default:
			algs = append(algs, alg)
		}
	}
	if len(algs) == 0 {
		algs = []string{issuer.EdDSA}
	}
	return algs, nil
}

func parsePeriod(s string) (time.Duration, error) {
	if s == "" {
		return issuer.DefaultPeriod, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < issuer.MinPeriod {
		return 0, fmt.Errorf("must be at least %s, such as 720h", issuer.MinPeriod)
	}
	return d, nil
}

func parseGroups(s, store string) (int, error) {
	n, err := strconv.Atoi(cmp.Or(s, "1"))
	switch {
	case err != nil || n < 1 || n > 4:
		return 0, errors.New("must be a number from 1 to 4")
	case n > 1 && strings.HasPrefix(store, "sqlite:"):
		return 0, errors.New("must be 1 on SQLite, which has one writer")
	}
	return n, nil
}

func parseRetention(s string) (time.Duration, error) {
	if s == "" {
		return usage.DefaultRetention, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 24*time.Hour {
		return 0, errors.New("must be at least 24h, such as 9600h")
	}
	return d, nil
}

func parseFailureLimit(s string) (verifier.Rate, error) {
	if s == "" {
		return failures.DefaultLimit, nil
	}
	limit, err := verifier.ParseRate(s)
	if err != nil {
		return verifier.Rate{}, errors.New("must be COUNT/WINDOW[,BURST], such as 60/1m")
	}
	return limit, nil
}

func parseProxies(list []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, s := range list {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(s)
		if addr, errAddr := netip.ParseAddr(s); errAddr == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, errors.New("must be addresses or networks such as 10.0.0.0/8, separated by commas")
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}

// parseMasterKey reads the key from the environment. Only beside an SQLite file
// can it be missing: a key is made there.
func parseMasterKey(text, file, store string) (*issuer.MasterKey, error) {
	if text == "" && file == "" && strings.HasPrefix(store, "postgres") {
		return nil, errors.New("or CAMBIO_MASTER_KEY_FILE is required with this store; cambio master-key --out FILE makes one")
	}
	if text == "" {
		return nil, nil //nolint:nilnil // it may be in a file
	}
	if file != "" {
		return nil, errors.New("is set, and so is CAMBIO_MASTER_KEY_FILE: use one of them")
	}
	key, err := issuer.ParseMasterKey(text)
	if err != nil {
		return nil, err
	}
	return &key, nil
}
