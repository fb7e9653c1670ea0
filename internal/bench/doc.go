// Package bench measures a whole server over HTTP: what an exchange costs beside
// a bare handler, and what charging in groups brings over one commit for each
// request. It has tests only; make bench runs it. What an operator may want to know
// of a machine, cambio bench measures as well.
//
// # Why ratios
//
// Times say more about a machine than about a program, so no test asserts one.
// What is compared takes turns, see package load. What does fail is an exchange that
// fails, and a sum of grants that is not what the store recorded.
package bench
