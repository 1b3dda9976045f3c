package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// deleting are the calls that can take a user's files away: volumes, objects,
// manifests, plain files and records, by the folder that they are looked for in;
// "" is everywhere.
var deleting = map[string]string{
	"VolumeRemove": "", "RemoveVolume": "", "DropVolume": "", "VolumesPrune": "",
	"RemoveObject": "", "RemoveObjects": "", "AbortMultipartUpload": "",
	"ConfigRemove": "", "RemoveConfig": "", "Drop": "functions",
	"remove": "internal/workspace", "Remove": "internal/workspace", "RemoveAll": "internal/workspace", "Truncate": "internal/workspace",
}

// TestEveryDeletionIsListed compares the functions that delete with the table of
// docs/architecture.md, "What is safe": one that is added has to say there what it
// has proved before.
func TestEveryDeletionIsListed(t *testing.T) {
	t.Parallel()
	var found []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "testdata" || d.Name() == "node_modules" ||
			slices.Contains(testHelpers, filepath.ToSlash(path))) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if folder, deletes := deleting[sel.Sel.Name]; deletes && strings.HasPrefix(path, folder) {
					found = append(found, path+" "+f.Name.Name)
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z/_]+\\.go)` ((?:`\\w+`(?:, )?)+) \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(string(text), -1) {
		for f := range strings.SplitSeq(strings.ReplaceAll(m[2], "`", ""), ", ") {
			listed = append(listed, m[1]+" "+f)
		}
	}
	slices.Sort(listed)
	for _, f := range found {
		if !slices.Contains(listed, f) {
			t.Errorf("%s deletes: list it in docs/architecture.md, \"What is safe\", with what it has proved before", f)
		}
	}
	for _, l := range listed {
		if !slices.Contains(found, l) {
			t.Errorf("docs/architecture.md lists %s, which deletes nothing any more", l)
		}
	}
}
