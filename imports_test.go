package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// arrows says which of our packages each may import (docs/architecture.md);
// main may import all of them.
var arrows = map[string][]string{
	"openapi":            {"functions", "queue", "internal/store", "internal/gateway", "dashboard", "internal/ide"},
	"worker":             {"functions", "queue", "internal/store", "internal/swarm", "internal/ide"},
	"functions":          {"queue", "internal/store", "internal/swarm", "internal/s3", "internal/workspace", "internal/seal", "internal/ide"},
	"internal/templates": {"internal/ide"},
	"internal/s3":        {"internal/workspace", "internal/ide"},
	"dashboard":          {"queue", "internal/ide"},
	"queue":              {"internal/ide"},
	"internal/workspace": {"internal/ide"},
	"internal/cli":       {"openapi", "functions", "internal/doctor", "internal/ide"},
	"internal/process":   {"openapi", "worker", "functions", "queue", "internal/gateway", "internal/logs", "internal/traces", "internal/store", "internal/swarm", "internal/ide"},
	"internal/traces":    {},
	"internal/doctor":    {"internal/store", "internal/swarm", "internal/s3", "internal/ide"},
	"internal/gateway":   {"internal/store", "internal/ide"},
	"internal/logs":      {"internal/store", "internal/ide"},
	"internal/store":     {"internal/ide"},
	"internal/swarm":     {"internal/ide"},
	"internal/seal":      {},
	"internal/ide":       {},
	"deploy/ide/agent":   {"internal/workspace", "internal/ide"},
	"deploy/store":       {},
	"deploy/release":     {},
	"deploy/testrun":     {},
	"deploy/vulncheck":   {},
}

// testHelpers may be imported by tests only, and import what they test.
var testHelpers = []string{"internal/e2e", "internal/lab", "internal/leaktest", "internal/redistest", "internal/sim", "internal/swarm/swarmtest"}

func TestImportsPointDownwards(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "testdata" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			check(t, path, pkg, strings.Trim(spec.Path.Value, `"`))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, path, pkg, imported string) {
	ours, isOurs := strings.CutPrefix(imported, "berth/")
	helper := slices.ContainsFunc(testHelpers, func(h string) bool { return pkg == h || strings.HasPrefix(pkg, h+"/") })
	switch allowed, known := arrows[pkg]; {
	case helper:
	case pkg == "internal/ide" && strings.Contains(strings.Split(imported, "/")[0], "."):
		t.Errorf("%s imports %s: the domain needs the standard library only", path, imported)
	case strings.HasPrefix(imported, "github.com/docker/docker/") && pkg != "internal/swarm":
		t.Errorf("%s imports %s: only internal/swarm knows the Docker API", path, imported)
	case !isOurs || pkg == ".":
	case slices.Contains(testHelpers, ours):
		t.Errorf("%s imports %s, which is for tests", path, imported)
	case known && !slices.Contains(allowed, ours):
		t.Errorf("%s imports %s: no arrow leads from %s to it", path, imported, pkg)
	case !known && !strings.HasPrefix(pkg, "deploy/lab"):
		t.Errorf("%s: the package %s is in no arrow; say in docs/architecture.md and here what it may import", path, pkg)
	}
}

func TestTopLevelNames(t *testing.T) {
	t.Parallel()
	entries, err := filepath.Glob("*")
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields("functions queue openapi worker dashboard deploy docs internal go.mod go.sum Makefile compose.yaml main.go main_test.go secrets_test.go traces_test.go config.go config_test.go imports_test.go deletions_test.go README.md LICENSE CONTRIBUTING.md CHANGELOG.md bin coverage berth berth-data")
	for _, e := range entries {
		if !strings.HasPrefix(e, ".") && !slices.Contains(known, e) {
			t.Errorf("%s stands at the top level, whose names are fixed", e)
		}
	}
}
