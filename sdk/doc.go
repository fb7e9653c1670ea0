// Package sdk is for backends. It decides whether a token, or an API key that
// it exchanges for one, is good here and now, and says which permissions it
// carries. What those permissions mean is left to the backend.
//
// A backend that receives tokens needs a [Checker], which is offline but for
// the issuer's public keys. One that receives API keys needs a [Client], which
// exchanges a key on first sight (RFC 8693) and answers locally from then on.
// Both go into [Require], which guards a http.Handler.
//
// Every failure is one of two: we were told no, or could not tell.
//
//	errors.Is(err, sdk.ErrRefused)     // 401; 403 for *ForbiddenError, 429 for *LimitedError
//	errors.Is(err, sdk.ErrUnavailable) // 503; the key or token may be good
//
// No error, and nothing that prints, holds a token, a key or a secret.
//
// # What is asked of the issuer
//
// The public keys, when the first token needs them and again before their max-age
// is over, only while good tokens come in; once a second at most, whatever is
// forged. The status of a token's key (Token Status List), if it has one: a
// token of a key that was revoked or suspended is refused at the latest one ttl
// after the change, some seconds. Both at the configured issuer alone: a token
// sends us nowhere. If the issuer is away, known keys are relied upon for MaxStale,
// and statuses for their ttl; CheckerConfig says how to choose otherwise.
//
// # What is counted
//
// One exchange is one charge of the key's budget, and nothing else is. A token
// that is checked a thousand times was charged once; so was a key that a Client
// answers for from the token it keeps. Who needs an answer no older than so much
// says so with the call, and pays in exchanges; who needs every use counted has
// the call made Online, which is a charge each, of whatever the call is worth, and
// tells what is left: see [VerifyRequest]. A charge that brought nothing, since the
// answer was lost or its token is not acceptable here, is repeated ever later, at
// most once a minute in the end, or at once where an IdempotencyKey makes it the
// same charge.
//
// # Why
//
// The compact form and its JSON are read by our own strict readers, so that one
// token has one spelling and nothing is read twice; go-jose reads the public
// keys, where the hard part is. Tokens already verified are remembered by
// their SHA-256, so that no live token stays in memory.
//
// Goroutines are started only for a fetch or an exchange that must not die with
// the one caller who happened to need it first. Each ends within seconds, so
// there is nothing to close.
package sdk
