// Package bench measures a whole server over HTTP: what an exchange costs beside
// a bare handler, and what charging in groups brings over one commit for each
// request. It has tests only; make bench runs it.
//
// # Why ratios
//
// Times say more about a machine than about a program, so no test asserts one.
// What is compared runs in one process tree in turns of less than a second,
// and the server has a process of its own, so that its CPU time is apart from
// that of the load. What does fail is an exchange that fails, and a sum of
// grants that is not what the store recorded.
package bench
