// Package peers compares the sdk with the libraries that a Go backend would check
// our tokens with otherwise: what a check costs beside the signature alone, and
// which tokens that nobody should accept are accepted. It has tests only; make
// bench runs the benchmarks, and the log of TestHostileTokens is the comparison.
//
// # Why a module of its own
//
// So that nobody who imports the sdk sees the requirements of its peers. After a
// change of the requirements of the root, run go mod tidy here too.
//
// # Why in turns
//
// On a machine shared with others, two runs of the very same thing differ by more
// than most of what is compared here. So all contenders check one token each, in
// an order drawn anew for every token, and what is reported is the ratio of their
// medians to that of the raw signature in the same turns.
//
// # What is compared
//
// Each contender is set up as strictly as its own options allow: issuer, audience,
// algorithms, exp, and the keys fetched once from where an issuer publishes them.
// Checks that one would have to write by hand are left out, except that exp is
// there. All yield the scope, which is the least that a backend needs of a token.
package peers
