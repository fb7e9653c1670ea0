package importer_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/importer"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

var created = time.Date(2026, time.November, 23, 9, 7, 44, 971e6, time.UTC)

// betterAuth is a row as row_to_json writes it, of a key without limits.
var betterAuth = format{
	read: func(text string, rules importer.Rules) importer.Source {
		return importer.BetterAuth(strings.NewReader(text), rules)
	},
	row: row{
		"id": "rowId", "configId": "default", "name": "laptop", "start": "QuiteL", "referenceId": "user_42", "prefix": nil,
		"key": base64url(secret), "refillInterval": nil, "refillAmount": nil, "lastRefillAt": nil, "enabled": true,
		"rateLimitEnabled": true, "rateLimitTimeWindow": nil, "rateLimitMax": nil, "requestCount": 0, "remaining": nil,
		"lastRequest": nil, "expiresAt": nil, "createdAt": "2026-11-23T09:07:44.971+00:00", "updatedAt": "2026-11-23T09:07:44.971+00:00",
		"permissions": nil, "metadata": "null",
	},
	key: manage.ImportKey{
		Digest: verifier.Digest(sum(secret)), Start: "QuiteL", Keyspace: "default", Owner: "user_42", Name: "laptop",
		ExternalID: "rowId", State: verifier.Active, CreatedAt: created,
	},
}

func TestBetterAuthKeys(t *testing.T) {
	plain := importer.Rules{PlaintextConfigs: []string{"raw", "default"}}
	weak := importer.Rules{PlaintextConfigs: []string{"default"}, AllowWeak: true}
	betterAuth.run(t, map[string]mapping{
		"a digest is kept as it is":                       {},
		"a digest in other characters is refused":         {row: row{"key": strings.Repeat("+", 43)}, err: "key: is not the SHA-256"},
		"a digest with padding is refused":                {row: row{"key": base64url(secret) + "="}, err: "key: is not the SHA-256"},
		"a digest that is not canonical is refused":       {row: row{"key": strings.Repeat("A", 42) + "B"}, err: "key: is not the SHA-256"},
		"a key is refused":                                {row: row{"key": secret, "configId": "raw"}, err: `if "raw" keeps keys as they are, say --plaintext-config`},
		"a key is hashed, if its configuration was named": {row: row{"key": secret, "configId": "raw"}, rules: plain, want: in("raw")},
		"no configuration is the one named default":       {row: row{"key": secret, "configId": nil}, rules: plain},
		"another configuration still holds digests":       {row: row{"configId": "other"}, rules: plain, want: in("other")},
		"what looks like a digest is a key, if its configuration was named": {rules: plain, note: "key: has the form of a digest",
			want: func(k *manage.ImportKey) { k.Digest = verifier.Digest(sum(base64url(secret))) }},
		"a short key is refused": {row: row{"key": "tooshortakey1234567"}, rules: plain, err: "has 19 characters"},
		"a short key is taken, if that was said": {row: row{"key": "tooshortakey1234567"}, rules: weak, note: "can be guessed",
			want: func(k *manage.ImportKey) { k.Digest, k.Weak = verifier.Digest(sum("tooshortakey1234567")), true }},
		"a key of 20 characters is not short": {row: row{"key": "tooshortakey12345678"}, rules: plain,
			want: func(k *manage.ImportKey) { k.Digest = verifier.Digest(sum("tooshortakey12345678")) }},
		"a key of 513 bytes is refused":     {row: row{"key": strings.Repeat("k", 513)}, rules: plain, err: "1 to 512 bytes"},
		"an empty key is refused":           {row: row{"key": ""}, rules: plain, err: "1 to 512 bytes"},
		"a key that is a number is refused": {row: row{"key": 12345678901234567}, rules: plain, err: "key: must be a string"},
		"no key is refused":                 {row: row{"key": nil}, err: "key: is missing"},
		"a key may have no start in its row": {row: row{"key": secret, "start": nil}, rules: plain,
			want: func(k *manage.ImportKey) { k.Start = "QuiteL" }},
		"a start that is most of the key is left out": {row: row{"key": secret[:30], "start": secret[:16]}, rules: plain, note: "start: is left out, since it is most",
			want: func(k *manage.ImportKey) { k.Digest, k.Start = verifier.Digest(sum(secret[:30])), "" }},
		"a start that is all of the key is left out": {row: row{"key": base64url("short one"), "start": "short one"}, note: "start: is left out, since it is the key",
			want: func(k *manage.ImportKey) { k.Digest, k.Start = verifier.Digest(sum("short one")), "" }},
		"half of the key is not most of it": {row: row{"key": secret[:30], "start": secret[:15]}, rules: plain,
			want: func(k *manage.ImportKey) { k.Digest, k.Start = verifier.Digest(sum(secret[:30])), secret[:15] }},
	})
}

func in(keyspace string) func(*manage.ImportKey) {
	return func(k *manage.ImportKey) { k.Keyspace = keyspace }
}

func TestBetterAuthIdentity(t *testing.T) {
	betterAuth.run(t, map[string]mapping{
		"a configuration is a keyspace":                   {row: row{"configId": "secret"}, want: in("secret")},
		"an empty configuration is default":               {row: row{"configId": ""}},
		"no configuration is default":                     {row: row{"configId": Absent}},
		"--keyspace names another":                        {rules: importer.Rules{Keyspace: "moved"}, want: in("moved")},
		"a configuration that is no keyspace is refused":  {row: row{"configId": "no spaces"}, err: "configId: keyspace name"},
		"unless --keyspace names one":                     {row: row{"configId": "no spaces"}, rules: importer.Rules{Keyspace: "moved"}, want: in("moved")},
		"userId is the owner in old tables":               {row: row{"referenceId": Absent, "userId": "user_42"}},
		"columns may have underscores":                    {row: row{"referenceId": Absent, "reference_id": "user_42"}},
		"columns may have no capitals":                    {row: row{"referenceId": Absent, "referenceid": "user_42"}},
		"but not both":                                    {row: row{"reference_id": "user_42"}, err: "has a member twice"},
		"no owner is the key itself":                      {row: row{"referenceId": nil}, want: func(k *manage.ImportKey) { k.Owner = "" }},
		"an owner like the id of a key is refused":        {row: row{"referenceId": "key_1"}, err: "referenceId: owner must"},
		"an owner that is too long is refused":            {row: row{"referenceId": strings.Repeat("u", 256)}, err: "referenceId: owner must"},
		"an owner that does not print is refused":         {row: row{"referenceId": "a\x00b"}, err: "referenceId: owner must"},
		"an owner may be a number":                        {row: row{"referenceId": 7}, want: func(k *manage.ImportKey) { k.Owner = "7" }},
		"an owner is no object":                           {row: row{"referenceId": row{}}, err: "referenceId: must be a string"},
		"an id may be a number":                           {row: row{"id": 12}, want: func(k *manage.ImportKey) { k.ExternalID = "12" }},
		"no name is none":                                 {row: row{"name": nil}, want: func(k *manage.ImportKey) { k.Name = "" }},
		"a name loses what does not print":                {row: row{"name": "lap\x1b\ntop"}, note: "name: was cut"},
		"a name is cut between characters":                {row: row{"name": strings.Repeat("é", 200)}, note: "name: was cut to 254 bytes", want: func(k *manage.ImportKey) { k.Name = strings.Repeat("é", 127) }},
		"no start is none":                                {row: row{"start": nil}, want: func(k *manage.ImportKey) { k.Start = "" }},
		"a start of 32 bytes is kept":                     {row: row{"start": strings.Repeat("s", 32)}, want: func(k *manage.ImportKey) { k.Start = strings.Repeat("s", 32) }},
		"a start of 33 bytes is left out":                 {row: row{"start": strings.Repeat("s", 33)}, note: "start: is left out", want: func(k *manage.ImportKey) { k.Start = "" }},
		"enabled is true, if it is not said":              {row: row{"enabled": nil}},
		"a disabled key stays so":                         {row: row{"enabled": false}, want: func(k *manage.ImportKey) { k.State = verifier.Disabled }},
		"enabled may be 0":                                {row: row{"enabled": 0}, want: func(k *manage.ImportKey) { k.State = verifier.Disabled }},
		"enabled may be text":                             {row: row{"enabled": "f"}, want: func(k *manage.ImportKey) { k.State = verifier.Disabled }},
		"enabled is not anything":                         {row: row{"enabled": "no way"}, err: "enabled: must be true or false"},
		"all that is wrong is said":                       {row: row{"referenceId": "key_1", "enabled": 7}, err: "; enabled: must"},
		"columns that are not known mean nothing":         {row: row{"extra": row{"a": 1}}},
		"an id that does not print is refused":            {row: row{"id": "a\nb"}, err: "id: must be"},
		"a name is no list":                               {row: row{"name": []string{"a"}}, err: "name: must be a string"},
		"a half pair of surrogates is no part of a name":  {row: row{"name": json.RawMessage(`"lap\ud800top"`)}, note: "name: was cut"},
		"a name that is only spaces stays":                {row: row{"name": "  "}, want: func(k *manage.ImportKey) { k.Name = "  " }},
		"a start that does not print is left out":         {row: row{"start": "a\tb"}, note: "start: is left out", want: func(k *manage.ImportKey) { k.Start = "" }},
		"the prefix of a key is in its digest":            {row: row{"prefix": "acme_"}},
		"an updatedAt that is no time means nothing":      {row: row{"updatedAt": "yesterday"}},
		"a configuration may be a number, as a name":      {row: row{"configId": 7}, want: in("7")},
		"a keyspace may come from no configuration alone": {row: row{"configId": nil}, rules: importer.Rules{Keyspace: "moved"}, want: in("moved")},
	})
}

func TestBetterAuthTimes(t *testing.T) {
	at := func(t time.Time) func(*manage.ImportKey) {
		return func(k *manage.ImportKey) { k.CreatedAt = t }
	}
	expires := func(t time.Time) func(*manage.ImportKey) {
		return func(k *manage.ImportKey) { k.ExpiresAt = t }
	}
	whole := created.Truncate(time.Second)
	betterAuth.run(t, map[string]mapping{
		"as psql prints them":              {row: row{"createdAt": "2026-11-23 09:07:44.971+00"}},
		"in other zones":                   {row: row{"createdAt": "2026-11-23 14:37:44.971+05:30"}},
		"in zones without a colon":         {row: row{"createdAt": "2026-11-23T14:37:44.971+0530"}},
		"in Zulu":                          {row: row{"createdAt": "2026-11-23T09:07:44.971Z"}},
		"with microseconds":                {row: row{"createdAt": "2026-11-23T09:07:44.971123+00:00"}, want: at(created.Add(123 * time.Microsecond))},
		"without a fraction":               {row: row{"createdAt": "2026-11-23T09:07:44Z"}, want: at(whole)},
		"as milliseconds":                  {row: row{"createdAt": created.UnixMilli()}},
		"as milliseconds in text":          {row: row{"createdAt": "1795424864971"}, want: at(time.UnixMilli(1795424864971).UTC())},
		"without a zone, as UTC":           {row: row{"createdAt": "2026-11-23 09:07:44.971"}, note: "createdAt: names no time zone"},
		"not in words":                     {row: row{"createdAt": "yesterday"}, err: "createdAt: must be a time"},
		"not before 1970":                  {row: row{"createdAt": "0001-01-01T00:00:00Z"}, err: "createdAt: must not be before 1970"},
		"not after 2200":                   {row: row{"createdAt": "2200-01-01T00:00:01Z"}, err: "createdAt: must be before 2200"},
		"a key without one has none":       {row: row{"createdAt": nil}, want: at(time.Time{})},
		"an expiry is cut to its second":   {row: row{"expiresAt": "2026-12-01T00:00:00.999Z"}, want: expires(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))},
		"an expiry that is over is kept":   {row: row{"expiresAt": "2025-01-01T00:00:00+00:00"}, want: expires(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))},
		"an expiry beyond 2200 is never":   {row: row{"expiresAt": "9999-12-31T23:59:59Z"}, note: "expiresAt: is so late"},
		"an expiry in year 1 is refused":   {row: row{"expiresAt": "0001-01-01T00:00:00Z"}, err: "expiresAt: must not be before 1970"},
		"an expiry of infinity is no time": {row: row{"expiresAt": "infinity"}, err: "expiresAt: must be a time"},
	})
}

func TestBetterAuthPermissionsAndMetadata(t *testing.T) {
	files := verifier.Permissions{"files": {"read", "write"}}
	holds := func(p verifier.Permissions) func(*manage.ImportKey) {
		return func(k *manage.ImportKey) { k.Permissions = p }
	}
	keeps := func(m string) func(*manage.ImportKey) {
		return func(k *manage.ImportKey) { k.Metadata = json.RawMessage(m) }
	}
	long := `{"a":"` + strings.Repeat("x", 2041) + `"}`
	betterAuth.run(t, map[string]mapping{
		"permissions are JSON in text":             {row: row{"permissions": `{"files":["read","write"]}`}, want: holds(files)},
		"or an object":                             {row: row{"permissions": row{"files": []string{"read", "write"}}}, want: holds(files)},
		"or text in text":                          {row: row{"permissions": `"{\"files\":[\"read\",\"write\"]}"`}, want: holds(files)},
		"permissions may be the text null":         {row: row{"permissions": "null"}},
		"or nothing":                               {row: row{"permissions": ""}},
		"or the text null in text":                 {row: row{"permissions": `"null"`}},
		"permissions are not a list":               {row: row{"permissions": `["read"]`}, err: "permissions: must be an object"},
		"actions are not a word":                   {row: row{"permissions": `{"files":"read"}`}, err: "permissions: must be an object"},
		"permissions are not other text":           {row: row{"permissions": `read`}, err: "permissions: must be JSON"},
		"a resource without actions is left out":   {row: row{"permissions": `{"files":["read","write"],"users":[]}`}, want: holds(files), note: `resource "users" allows no action`},
		"an action that comes twice comes once":    {row: row{"permissions": `{"files":["read","write","read"]}`}, want: holds(files)},
		"a name that no scope can carry is kept":   {row: row{"permissions": `{"my files":["read"]}`}, want: holds(verifier.Permissions{"my files": {"read"}}), note: `"read" of "my files" is kept, but no scope`},
		"a resource with a colon too":              {row: row{"permissions": `{"a:b":["read"]}`}, want: holds(verifier.Permissions{"a:b": {"read"}}), note: "no scope can name it"},
		"names of JavaScript are names":            {row: row{"permissions": `{"__proto__":["constructor"]}`}, want: holds(verifier.Permissions{"__proto__": {"constructor"}})},
		"a star is a name":                         {row: row{"permissions": `{"*":["*"]}`}, want: holds(verifier.Permissions{"*": {"*"}})},
		"metadata is JSON in text":                 {row: row{"metadata": `{ "plan": "pro" }`}, want: keeps(`{"plan":"pro"}`)},
		"metadata is an object":                    {row: row{"metadata": row{"plan": "pro"}}, want: keeps(`{"plan":"pro"}`)},
		"metadata is text in text":                 {row: row{"metadata": `"{\"plan\":\"pro\"}"`}, want: keeps(`{"plan":"pro"}`)},
		"metadata is SQL's null":                   {row: row{"metadata": nil}},
		"metadata is not there":                    {row: row{"metadata": Absent}},
		"metadata that is a list becomes a value":  {row: row{"metadata": `[1, 2]`}, want: keeps(`{"value":[1,2]}`), note: "metadata: is no object"},
		"metadata that is no JSON becomes a value": {row: row{"metadata": `{"plan`}, want: keeps(`{"value":"{\"plan"}`), note: "metadata: is no object"},
		"metadata that is a word becomes a value":  {row: row{"metadata": `"pro"`}, want: keeps(`{"value":"pro"}`), note: "metadata: is no object"},
		"a name that comes twice is kept as text":  {row: row{"metadata": `{"a":1,"a":2}`}, want: keeps(`{"value":"{\"a\":1,\"a\":2}"}`), note: "kept as text"},
		"half a surrogate pair is kept as text":    {row: row{"metadata": `{"a":"\ud83d"}`}, want: keeps(`{"value":"{\"a\":\"\\ud83d\"}"}`), note: "kept as text"},
		"U+FFFD is kept as text, and escaped":      {row: row{"metadata": `{"a":"` + "\ufffd" + `"}`}, want: keeps(`{"value":"{\"a\":\"\\ufffd\"}"}`), note: "kept as text"},
		"metadata of great depth is kept as text": {row: row{"metadata": strings.Repeat(`{"a":`, 99) + "1" + strings.Repeat("}", 99)}, note: "kept as text",
			want: keeps(`{"value":"` + strings.Repeat(`{\"a\":`, 99) + "1" + strings.Repeat("}", 99) + `"}`)},
		"metadata may be longer than a token has":  {row: row{"metadata": long}, want: keeps(long), note: "never published in tokens"},
		"metadata as long as a token has is usual": {row: row{"metadata": strings.Replace(long, "x", "", 1)}, want: keeps(strings.Replace(long, "x", "", 1))},
		"numbers in metadata stay as written":      {row: row{"metadata": `{"n":12345678901234567890.50}`}, want: keeps(`{"n":12345678901234567890.50}`)},
	})
}
