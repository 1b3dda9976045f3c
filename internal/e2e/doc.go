// Package e2e holds the tests that see Berth as its users do: the real binary,
// a real redis-server and a real Swarm (deploy/lab), over HTTP. They run
// inside the lab: `make test`, or `deploy/lab/lab exec go test ./internal/e2e`.
package e2e
