package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func TestEveryTestOfALabIsInOneSuite(t *testing.T) {
	t.Parallel()
	s, err := readSuites(filepath.Join(root, "deploy", "suites"))
	if err != nil {
		t.Fatal(err)
	}
	lanes := map[string][]string{} // of a package's test
	for _, l := range s.lanes {
		for pkg, names := range l.tests {
			for _, name := range names {
				lanes[pkg+" "+name] = append(lanes[pkg+" "+name], l.name)
				if !slices.Contains(testsOf(t, pkg), name) {
					t.Errorf("deploy/suites: the lane %s has %s, which is no test of %s", l.name, name, pkg)
				}
				if len(lanes[pkg+" "+name]) > 1 && !l.twice[name] {
					t.Errorf("deploy/suites: %s is in the lanes %v; a test that runs twice has a + behind its name", name, lanes[pkg+" "+name])
				}
			}
		}
	}
	for _, name := range testsOf(t, "internal/e2e") {
		if lanes["internal/e2e "+name] == nil {
			t.Errorf("deploy/suites: no lane has %s of internal/e2e: a test that no suite has is never run", name)
		}
	}
	for _, input := range s.inputs {
		if _, err := os.Stat(filepath.Join(root, strings.TrimPrefix(input, "go:"))); err != nil {
			t.Errorf("deploy/suites: an input is not there: %v", err)
		}
	}
	for _, pkg := range s.first {
		if len(testsOf(t, pkg)) == 0 {
			t.Errorf("deploy/suites: %s, which is to begin first, has no tests", pkg)
		}
	}
}

// testsOf returns the names of a package's tests.
func testsOf(t *testing.T, pkg string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}

// A package whose tests ask for a lab has to say in deploy/suites which: those
// that no lane has would fail among the unit tests.
func TestPackagesWithALabAreInSuites(t *testing.T) {
	t.Parallel()
	s, err := readSuites(filepath.Join(root, "deploy", "suites"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"internal", "functions", "worker", "openapi", "queue", "dashboard", "."} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() && (d.Name() == "node_modules" || dir == "." && path != root) {
				return filepath.SkipDir
			}
			if !strings.HasSuffix(path, "_test.go") {
				return nil
			}
			text, err := os.ReadFile(path)
			pkg, _ := filepath.Rel(root, filepath.Dir(path))
			if strings.Contains(string(text), `"berth/internal/lab"`) && len(s.inLanes(filepath.ToSlash(pkg))) == 0 {
				t.Errorf("%s uses a lab, and deploy/suites has no test of %s", path, pkg)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestSuitesAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"lane a b 1 1":           `line 1: no suite is called "b"`,
		"\ntests a internal/x T": `line 2: no lane is called "a"`,
		"suite a":                "line 1: not understood",
		"dance a b c":            "line 1: not understood",
	} {
		if _, err := parseSuites(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
