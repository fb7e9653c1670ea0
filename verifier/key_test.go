package verifier_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/verifier"
)

func generate(t *testing.T, prefix string) string {
	t.Helper()
	s, err := verifier.GenerateKey(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return s.Reveal()
}

func TestGeneratedKeys(t *testing.T) {
	t.Run("match the published pattern, as a whole", func(t *testing.T) {
		whole := regexp.MustCompile(`^` + strings.Trim(verifier.KeyPattern, `\b`) + `$`)
		for _, prefix := range []string{"a", "ck", "acme_live", "0123456789_abcde", "_", "a_"} {
			key := generate(t, prefix)
			if !whole.MatchString(key) || !verifier.WellFormed(verifier.NewSecret(key)) {
				t.Errorf("%s…", key[:len(prefix)+5])
			}
		}
	})
	t.Run("are found by the pattern in the middle of a text", func(t *testing.T) {
		key := generate(t, "ck")
		if got := regexp.MustCompile(verifier.KeyPattern).FindString(`export KEY="` + key + `" # mine`); got != key {
			t.Errorf("found %d bytes of %d", len(got), len(key))
		}
	})
	t.Run("end in the CRC-32 of what stands before, in base62", func(t *testing.T) {
		key := generate(t, "ck")
		body, sum := key[:len(key)-6], uint32(0)
		for _, c := range []byte(key[len(key)-6:]) {
			sum = sum*62 + uint32(strings.IndexByte("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", c))
		}
		if want := crc32.ChecksumIEEE([]byte(body)); sum != want {
			t.Errorf("checksum %d, want %d", sum, want)
		}
	})
	t.Run("draw all 62 characters alike", func(t *testing.T) {
		const keys = 20_000
		seen := map[rune]int{}
		for range keys {
			for _, c := range generate(t, "a")[2:34] {
				seen[c]++
			}
		}
		// With modulo bias the first eight would be drawn 25 % more often. Each
		// count has a standard deviation of about 1 % of its mean.
		mean := keys * 32 / 62
		for c, n := range seen {
			if n < mean*92/100 || n > mean*108/100 {
				t.Errorf("%c: %d, mean %d", c, n, mean)
			}
		}
		if len(seen) != 62 {
			t.Errorf("%d characters", len(seen))
		}
	})
	t.Run("need a prefix of a-z, 0-9 and _", func(t *testing.T) {
		for _, prefix := range []string{"", "A", "a-b", "a b", "ü", "01234567890123456", "a\n"} {
			if _, err := verifier.GenerateKey(prefix); !errors.Is(err, verifier.ErrPrefix) {
				t.Errorf("%q: %v", prefix, err)
			}
		}
	})
}

func TestEveryChangedCharacterIsNoticed(t *testing.T) {
	key := generate(t, "ck")
	for i := range key {
		for _, c := range []byte("0aZ_-. ") {
			if key[i] == c {
				continue
			}
			changed := key[:i] + string(c) + key[i+1:]
			if verifier.WellFormed(verifier.NewSecret(changed)) {
				t.Errorf("character %d changed to %q goes unnoticed", i, c)
			}
		}
	}
	for name, s := range map[string]string{
		"nothing": "", "a part": key[:len(key)-1], "more": key + "0", "space around": " " + key, "a newline": key + "\n",
		"no prefix": key[2:], "a long one": strings.Repeat("a", 1000),
	} {
		if verifier.WellFormed(verifier.NewSecret(s)) {
			t.Errorf("%s is well formed", name)
		}
	}
}

func FuzzWellFormed(f *testing.F) {
	f.Add("ck_00000000000000000000000000000000000000")
	f.Add("_" + strings.Repeat("z", 38))
	f.Add("ck_\xff" + strings.Repeat("0", 37))
	pattern := regexp.MustCompile(`^` + strings.Trim(verifier.KeyPattern, `\b`) + `$`)
	f.Fuzz(func(t *testing.T, s string) {
		if verifier.WellFormed(verifier.NewSecret(s)) && !pattern.MatchString(s) {
			t.Errorf("%q is well formed but no scanner finds it", s)
		}
	})
}

func TestASecretDoesNotPrint(t *testing.T) {
	secret := verifier.NewSecret("hunter2hunter2")
	type holder struct {
		S verifier.Secret
		s verifier.Secret
	}
	h := holder{secret, secret}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "secret", secret, "holder", h)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "secret", secret, "holder", h)
	encoded, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{
		fmt.Sprint(secret), fmt.Sprintf("%s %v %+v %#v %q %x", secret, secret, secret, secret, secret, secret),
		fmt.Sprintf("%v %+v %#v", h, h, h), fmt.Sprintf("%v", &h), string(encoded), logged.String(),
		fmt.Errorf("oops: %v", h).Error(),
	} {
		if strings.Contains(out, "hunter2") || strings.Contains(out, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("printed: %s", out)
		}
	}
}

func TestNamesAreBounded(t *testing.T) {
	for _, owner := range []string{"", "user_42", "Ünïcode Ltd.", "a@b.example", strings.Repeat("x", 255)} {
		if err := verifier.ValidateOwner(owner); err != nil {
			t.Errorf("owner %q: %v", owner, err)
		}
	}
	for _, owner := range []string{"key_1", "key_", "a\nb", "a\x00", "\xff", strings.Repeat("x", 256), "a\u202eb"} {
		if verifier.ValidateOwner(owner) == nil {
			t.Errorf("owner %q is accepted", owner)
		}
	}
	for _, name := range []string{"default", "a", "A.b-c_9", strings.Repeat("k", 64)} {
		if err := verifier.ValidateKeyspace(name); err != nil {
			t.Errorf("keyspace %q: %v", name, err)
		}
	}
	for _, name := range []string{"", "*", "-a", "a b", "a/b", strings.Repeat("k", 65), "a\n"} {
		if verifier.ValidateKeyspace(name) == nil {
			t.Errorf("keyspace %q is accepted", name)
		}
	}
}
