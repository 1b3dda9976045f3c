package functions

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// looks are what says how far another job is: its record, and the container that
// it changes.
var looks = []string{"Store.Job", "Store.JobsOf", "Store.WaitJob", "Store.Jobs", "Store.Container"}

// rests are the ways to let time pass.
var rests = []string{"pause", "time.Sleep", "time.After", "time.NewTimer", "time.NewTicker"}

// No job waits for a job inside a slot. So nothing in this package, and with it no
// function's Run, Fail or step, may look at another job again and again: a loop that
// lets time pass looks at none, neither itself nor through what it calls. Who waits
// returns waitForJobs.
func TestNoJobWaitsForAJobInASlot(t *testing.T) {
	t.Parallel()
	files := token.NewFileSet()
	parsed, err := parser.ParseDir(files, ".", func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, 0) //nolint:staticcheck // one package, without build tags
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]map[string]bool{} // function or method -> what it refers to
	var loops []ast.Stmt
	for _, f := range parsed["functions"].Files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				if calls[fn.Name.Name] == nil {
					calls[fn.Name.Name] = map[string]bool{}
				}
				refers(fn.Body, calls[fn.Name.Name])
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ForStmt:
				loops = append(loops, n)
			case *ast.RangeStmt:
				loops = append(loops, n)
			}
			return true
		})
	}
	if len(loops) < 20 || !calls["waitGone"]["pause"] {
		t.Fatalf("only %d loops are seen, or not what they call", len(loops))
	}
	for _, l := range loops {
		all := map[string]bool{}
		refers(l, all)
		for more := true; more; {
			more = false
			for name := range all {
				for called := range calls[name] {
					more = more || !all[called]
					all[called] = true
				}
			}
		}
		has := func(name string) bool { return all[name] }
		if slices.ContainsFunc(looks, has) && slices.ContainsFunc(rests, has) {
			t.Errorf("%s: a loop lets time pass and looks at another job: return waitForJobs, which gives the slot back", files.Position(l.Pos()))
		}
	}
}

// refers adds what a piece of code calls: functions of the package, methods of
// Deps and of running by their names, and others with what they are of.
func refers(n ast.Node, to map[string]bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch f := call.Fun.(type) {
		case *ast.Ident:
			to[f.Name] = true
		case *ast.SelectorExpr:
			switch x := f.X.(type) {
			case *ast.Ident:
				if x.Name == "d" || x.Name == "r" {
					to[f.Sel.Name] = true
				}
				to[x.Name+"."+f.Sel.Name] = true
			case *ast.SelectorExpr:
				to[x.Sel.Name+"."+f.Sel.Name] = true
			}
		}
		return true
	})
}
