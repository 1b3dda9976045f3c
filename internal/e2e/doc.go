// Package e2e holds the tests that see Berth as its users do: the real binary,
// a real redis-server and a real Swarm (deploy/lab), over HTTP. They run
// inside the lab: `make test`, or `deploy/lab/lab exec go test ./internal/e2e`.
//
// A test that begins with crowd runs beside others, -parallel of them in one lab of
// one node. The others change their nodes, and run in turn. A failed test shows its
// own log, and the last lines of Berth's processes and of the lab's engines.
package e2e
