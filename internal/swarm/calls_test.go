package swarm_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/swarm"

	"github.com/google/go-cmp/cmp"
)

// TestCallsAreThoseOfTheAdapter: each call of Docker's client in this package is
// in the list, and nothing else is. That the paths are right shows in the fake,
// which refuses all others, and in the suite that runs through the proxy.
func TestCallsAreThoseOfTheAdapter(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	must(t, err)
	made := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			method, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if on, ok := method.X.(*ast.SelectorExpr); ok && on.Sel.Name == "docker" {
				made[method.Sel.Name] = true
			}
			return true
		})
	}
	for _, local := range []string{"Close", "ClientVersion", "NewVersionError"} { // no request of their own
		delete(made, local)
	}
	listed := map[string]bool{}
	for _, c := range swarm.Calls() {
		if c.Via != "" {
			listed[c.Via] = true
		}
	}
	if diff := cmp.Diff(listed, made); diff != "" {
		t.Errorf("swarm.Calls (-listed +made):\n%s", diff)
	}
}

func TestWhatIsACall(t *testing.T) {
	t.Parallel()
	for request, want := range map[string]bool{
		"GET /v1.41/info": true,
		"GET /info":       true,
		"HEAD /_ping":     true,
		"GET /v1.41/images/reg.test:5000/a/b:1/json": true,
		"GET /v1.41/images/a@sha256:00/json":         true,
		"GET /v1.41/services":                        true,
		"GET /v1.41/distribution/reg.test/a:1/json":  true,
		"GET /v1.41/distribution/../info/json":       false,
		"POST /v1.41/services/create":                true,
		"POST /v1.41/services/x1/update":             true,
		"DELETE /v1.41/volumes/berth-main-a":         true,
		"POST /v1.41/containers/create":              false,
		"POST /v1.41/containers/x/exec":              false,
		"POST /v1.41/containers/x/start":             false,
		"POST /v1.41/build":                          false,
		"POST /v1.41/images/create":                  true,
		"POST /v1.41/images/x/push":                  false,
		"GET /v1.41/images/json":                     false,
		"GET /v1.41/images/../containers/x/json":     false,
		"GET /v1.41/images//json":                    false,
		"GET /v1.41/containers/x/archive":            false,
		"GET /v1.41/containers/..%2f..%2fswarm/json": false,
		"GET /v1.41/containers/../json":              false,
		"GET /v1.41/swarm/unlockkey":                 false,
		"POST /v1.41/swarm/update":                   false,
		"GET /v1.41/v1.41/info":                      false,
		"GET //info":                                 false,
		"GET /v2/info":                               false,
		"DELETE /v1.41/networks/x":                   false,
		"POST /v1.41/nodes/x/update":                 true,
		"POST /v1.41/swarm/join":                     false,
		"POST /v1.41/volumes/create":                 false,
		"POST /v1.41/plugins/pull":                   false,
		"POST /v1.41/session":                        false,
		"get /info":                                  false,
	} {
		method, path, _ := strings.Cut(request, " ")
		if _, got := swarm.Made(method, path); got != want {
			t.Errorf("%s: got %t, want %t", request, got, want)
		}
	}
}

// TestSecurityListsTheCalls keeps the table in docs/SECURITY.md.
func TestSecurityListsTheCalls(t *testing.T) {
	t.Parallel()
	const file, begin, end = "../../docs/SECURITY.md", "<!-- calls: made by go test ./internal/swarm -update -->\n", "<!-- end of calls -->\n"
	text, err := os.ReadFile(file)
	must(t, err)
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the list", file)
	}
	var b strings.Builder
	b.WriteString("\n| request | for |\n|---|---|\n")
	for _, c := range swarm.Calls() {
		fmt.Fprintf(&b, "| `%s %s` | %s |\n", c.Method, c.Path, c.For)
	}
	b.WriteString("\n")
	want := before + begin + b.String() + end + after
	if *swarm.Update {
		must(t, os.WriteFile(file, []byte(want), 0o644))
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("%s is stale, -update writes it (-want +have):\n%s", file, diff)
	}
}
