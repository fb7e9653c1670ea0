// Package load measures a whole server over HTTP: it makes the keys and the
// servers, loads them in turns, and tells what each did. Which servers are
// compared, and on which store, is left to cambio bench and to internal/bench.
//
// # Why processes, and turns
//
// A server has a process of its own, so that its CPU time is apart from that of the
// load; it is the same program, which the caller starts once more and hands to
// Serve. What is compared takes turns of less than a second, so that a machine
// that becomes busier meanwhile does so for all of them.
package load
