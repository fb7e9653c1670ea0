package httpapi_test

import (
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

var (
	once   = []step{use(fine)}
	always = []step{use(fine).times(20)}
)

// Whose keys they are, whether they are enabled, and how long.
var keyScenarios = []scenario{
	{name: "a key without limits", steps: always},
	{name: "a key with a prefix, which is a part of it", key: "acme_live_LwScjBNhtdXMJcZblsqrZrvYSqjUJnkAdSmkgOOAFprTYHkcDBiZ",
		row: columns{"prefix": "acme_live_", "start": "acme_l"}, steps: []step{use(fine), use(invalidKey).with("LwScjBNhtdXMJcZblsqrZrvYSqjUJnkAdSmkgOOAFprTYHkcDBiZ")}},
	{name: "a key of before there were configurations", row: columns{"configId": absent, "referenceId": absent, "userId": "user_42"}, steps: []step{use(fine), use(fine).in("default")}},
	{name: "a key that is not there", steps: []step{use(invalidKey).with("NoSuchKeyOfLettersLikeThoseThatBetterAuthHandsOutxxxxxxxxxxxxxxx")}},
	{name: "a key in other letters", key: "LowerAndUPPERareTwo", steps: []step{use(fine), use(invalidKey).with("lowerAndUPPERareTwo")}},
	{name: "a key with a space more", key: "NoSpaceAroundThisKey", steps: []step{use(invalidKey).with("NoSpaceAroundThisKey "), use(invalidKey).with(" NoSpaceAroundThisKey")}},
	{name: "what is stored of a key is not the key", key: "a key, of which this is the digest",
		steps: []step{use(invalidKey).with(digestOf("a key, of which this is the digest")), use(fine)}},
	{name: "a key of one character", key: "k", steps: []step{use(fine), use(invalidKey).with("x")}},
	{name: "a key of 512 bytes", key: strings.Repeat("k", 512), steps: once},
	{name: "a key of 513 bytes", key: strings.Repeat("k", 513), steps: []step{use(fine).but(wire.ReasonMalformed, "no key is longer than 512 bytes")}},
	{name: "a key of other alphabets", key: "clé-ключ-鍵-🔑-of-enough-length", steps: []step{use(fine), use(invalidKey).with("cle\u0301-ключ-鍵-🔑-of-enough-length")}},
	{name: "a key of characters that forms escape", key: `a+b c%20d&e=f"g\h/i?j#k`, steps: once},
	{name: "a key of characters that do not print", key: "tab\tnewline\nnul\x00bell\x07end", steps: once},
	{name: "a key that had half a surrogate pair, and so has U+FFFD", key: "half a pair: \ufffd, of enough length", steps: []step{use(fine).at(byToken),
		use(fine).at(byVerify).but(badRequest, "JSON with U+FFFD may be text that was broken on its way")}},
	{name: "a key that could be a token", key: "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.of-a-custom-generator", steps: []step{use(fine).but(wire.ReasonMalformed, "a token is never taken for a key")}},
	{name: "a key that looks like one of ours, mistyped", key: "ck_0123456789abcdefABCDEF0123456789xxxxxx", steps: once},
	{name: "a key that was stored as it is", row: columns{"configId": "plain", "key": itself}, steps: []step{use(fine), use(fine).in("plain"), use(invalidKey).in("default")}},
	{name: "a key that was stored as it is and looks like a digest", key: "uqP5FB2ouyJTx2z9VqN1Ek5-2cvl1gO2dRL_aoJXW1w", row: columns{"configId": "plain", "key": itself}, steps: once},
	{name: "a key that was stored as it is, and nobody said so", row: columns{"configId": "other", "key": itself}, lost: "say --plaintext-config"},
	{name: "a key that was stored as it is and can be guessed", key: "19 characters, no 1", row: columns{"configId": "plain", "key": itself}, lost: "--allow-weak"},
	{name: "an owner who could be a key", row: columns{"referenceId": "key_42"}, lost: "referenceId: owner must"},

	{name: "a key in its own configuration", row: columns{"configId": "secret"}, steps: []step{use(fine).in("secret"), use(fine)}},
	{name: "a key in another configuration", row: columns{"configId": "secret"}, steps: []step{use(invalidKey).in("default"), use(invalidKey).in("plain")}},
	{name: "a key in a configuration that is not there", steps: []step{use(invalidKey).in("nowhere")}},
	{name: "a key in a configuration of other letters", steps: []step{use(invalidKey).in("Default")}},
	{name: "a key whose configuration is NULL", row: columns{"configId": nil}, steps: []step{use(fine).in("default"), use(fine), use(invalidKey).in("secret")}},
	{name: "a key whose configuration is empty", row: columns{"configId": ""}, steps: []step{use(fine).in("default"), use(fine)}},

	{name: "enabled is NULL", row: columns{"enabled": nil}, steps: once},
	{name: "enabled is 1, as SQLite has it", row: columns{"enabled": 1}, steps: once},
	{name: "a disabled key", row: columns{"enabled": false}, steps: []step{use(keyDisabled).times(2)}},
	{name: "enabled is 0, as SQLite has it", row: columns{"enabled": 0}, steps: []step{use(keyDisabled)}},
	{name: "a disabled key in another configuration", row: columns{"enabled": false}, steps: []step{use(invalidKey).in("secret")}},
	{name: "a disabled key that is expired stays", row: columns{"enabled": false, "expiresAt": at(-time.Hour)}, steps: []step{use(keyDisabled).times(2)}},
	{name: "a disabled key is not asked for permissions", row: columns{"enabled": false}, steps: []step{use(keyDisabled).asking(`{"files":["read"]}`)}},
	{name: "a disabled key that is spent stays", row: columns{"enabled": false, "remaining": 0}, steps: []step{use(keyDisabled).times(2)}},

	{name: "an expired key", row: columns{"expiresAt": at(-time.Hour)}, steps: []step{use(keyExpired), use(invalidKey).but(wire.ReasonExpired, "no row is deleted by a refusal")}},
	{name: "a key that expires in an hour", row: columns{"expiresAt": at(time.Hour)}, steps: []step{use(fine), use(fine).after(time.Hour - time.Second), use(keyExpired).after(2 * time.Second)}},
	{name: "a key at the instant it expires", row: columns{"expiresAt": at(time.Hour)},
		steps: []step{use(fine).after(time.Hour).but(wire.ReasonExpired, "as with tokens (RFC 7519 §4.1.4), what expires is over at that instant")}},
	{name: "a key that expires within a second", row: columns{"expiresAt": at(time.Hour + 500*time.Millisecond)},
		steps: []step{use(fine).after(time.Hour - time.Second), use(fine).after(time.Second+200*time.Millisecond).but(wire.ReasonExpired, "tokens know whole seconds, and none outlives its key"), use(keyExpired).after(time.Second)}},
	{name: "a key that expires in the year 9999", row: columns{"expiresAt": "9999-12-31T23:59:59+00:00"}, steps: once},
	{name: "an expired key is not asked for permissions", row: columns{"expiresAt": at(-time.Hour)}, steps: []step{use(keyExpired).asking(`{"files":["read"]}`)}},
	{name: "an expired key that is spent", row: columns{"expiresAt": at(-time.Hour), "remaining": 0}, steps: []step{use(keyExpired)}},
	{name: "an expired key in another configuration", row: columns{"expiresAt": at(-time.Hour)}, steps: []step{use(invalidKey).in("secret")}},
}

const filesAndUsers = `{"files":["read","write"],"users":["read"]}`

// What a key may do. Whatever is asked and not held is a refusal that costs nothing.
var permissionScenarios = []scenario{
	{name: "a permission that is held", row: columns{"permissions": filesAndUsers}, steps: []step{use(fine).asking(`{"files":["read"]}`)}},
	{name: "all that is held", row: columns{"permissions": filesAndUsers}, steps: []step{use(fine).asking(filesAndUsers)}},
	{name: "in another order, and twice", row: columns{"permissions": filesAndUsers}, steps: []step{use(fine).asking(`{"users":["read"],"files":["write","read","write"]}`)}},
	{name: "none is asked for", row: columns{"permissions": filesAndUsers}, steps: once},
	{name: "an action that is not held", row: columns{"permissions": filesAndUsers}, steps: []step{use(notFound).asking(`{"users":["write"]}`)}},
	{name: "a resource that is not held", row: columns{"permissions": filesAndUsers}, steps: []step{use(notFound).asking(`{"teams":["read"]}`)}},
	{name: "one of two actions is not held", row: columns{"permissions": filesAndUsers}, steps: []step{use(notFound).asking(`{"users":["read","write"]}`)}},
	{name: "one of two resources is not held", row: columns{"permissions": filesAndUsers}, steps: []step{use(notFound).asking(`{"files":["read"],"teams":["read"]}`)}},
	{name: "a resource in other letters", row: columns{"permissions": filesAndUsers}, steps: []step{use(notFound).asking(`{"Files":["read"]}`)}},
	{name: "an action in other letters", row: columns{"permissions": filesAndUsers}, steps: []step{use(notFound).asking(`{"files":["Read"]}`)}},
	{name: "no permission at all", row: columns{"permissions": filesAndUsers}, steps: []step{use(notFound).asking(`{}`)}},
	{name: "a resource and no action", row: columns{"permissions": filesAndUsers}, steps: []step{use(notFound).asking(`{"files":[]}`).but(badRequest, "whoever asks for nothing has made a mistake")}},
	{name: "a star is held and something else asked for", row: columns{"permissions": `{"*":["*"],"files":["*"]}`}, steps: []step{use(notFound).asking(`{"files":["read"]}`), use(notFound).asking(`{"users":["*"]}`)}},
	{name: "a star is held and asked for", row: columns{"permissions": `{"files":["*"]}`}, steps: []step{use(fine).asking(`{"files":["*"]}`)}},
	{name: "a star is asked for", row: columns{"permissions": filesAndUsers}, steps: []step{use(notFound).asking(`{"files":["*"]}`), use(notFound).asking(`{"*":["read"]}`)}},
	{name: "__proto__ is asked for", row: columns{"permissions": filesAndUsers}, steps: []step{use(notFound).asking(`{"__proto__":["read"]}`)}},
	{name: "toString is asked for", row: columns{"permissions": filesAndUsers}, steps: []step{use(invalidKey).asking(`{"toString":["read"]}`).but(wire.ReasonPermission, "it is a name like any other")}},
	{name: "constructor is asked for", row: columns{"permissions": filesAndUsers}, steps: []step{use(invalidKey).asking(`{"constructor":["name"]}`).but(wire.ReasonPermission, "it is a name like any other")}},
	{name: "an action called constructor is asked for", row: columns{"permissions": filesAndUsers}, steps: []step{use(notFound).asking(`{"files":["constructor"]}`)}},
	{name: "constructor is held", row: columns{"permissions": `{"constructor":["toString"]}`}, steps: []step{use(fine).asking(`{"constructor":["toString"]}`)}},
	{name: "permissions are NULL", steps: []step{use(notFound).asking(`{"files":["read"]}`), use(notFound).asking(`{}`), use(fine)}},
	{name: "permissions are the text null", row: columns{"permissions": "null"}, steps: []step{use(notFound).asking(`{"files":["read"]}`), use(fine)}},
	{name: "permissions are an empty object", row: columns{"permissions": `{}`}, steps: []step{use(notFound).asking(`{"files":["read"]}`), use(fine)}},
	{name: "permissions have a resource without actions", row: columns{"permissions": `{"files":[]}`}, steps: []step{use(notFound).asking(`{"files":["read"]}`), use(fine)}},
	{name: "permissions are text in text", row: columns{"permissions": `"{\"files\":[\"read\"]}"`}, steps: []step{
		use(nothing).asking(`{"files":["read"]}`).but(wire.CodeValid, "what is meant is read"), use(notFound).asking(`{"files":["write"]}`)}},
	{name: "names that no scope can carry", row: columns{"permissions": `{"my files":["read all"],"a:b":["c"]}`}, steps: []step{use(fine).asking(`{"my files":["read all"],"a:b":["c"]}`), use(notFound).asking(`{"my files":["read"]}`), use(notFound).asking(`{"a":["b:c"]}`)}},
	{name: "actions are a word and no list", row: columns{"permissions": `{"files":"read"}`}, lost: "permissions: must be an object of lists"},
	{name: "a refusal of permission takes no use", row: columns{"permissions": filesAndUsers, "remaining": 1}, steps: []step{use(notFound).asking(`{"users":["write"]}`).times(3).leaving(1), use(fine).asking(`{"users":["read"]}`).leaving(0)}},
	{name: "a spent key is asked for permissions first", row: columns{"permissions": filesAndUsers, "remaining": 0}, steps: []step{use(notFound).asking(`{"users":["write"]}`).times(2), use(exceeded).asking(`{"users":["read"]}`)}},
	{name: "a key without permissions is refused what is asked, and takes no use for it", row: columns{"permissions": nil, "remaining": 2}, steps: []step{use(fine).leaving(1), use(notFound).asking(`{"files":["read"]}`).leaving(1)}},
}
