package openapi

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestTroubleshootingHasEveryCode reads the codes where they are written, so
// that a new one cannot be forgotten.
func TestTroubleshootingHasEveryCode(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/TROUBLESHOOTING.md")
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if code, ok := strings.CutPrefix(strings.TrimSpace(line), "### "); ok && code == strings.ToUpper(code) {
			entries[code] = true
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../internal/ide/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := 0
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if kind, ok := v.Type.(*ast.Ident); !ok || kind.Name != "Code" {
			return true
		}
		code, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		codes++
		if !entries[code] {
			t.Errorf("docs/TROUBLESHOOTING.md has no entry %s", code)
		}
		delete(entries, code)
		return true
	})
	if codes < 20 {
		t.Errorf("only %d codes were found", codes)
	}
	for code := range entries {
		t.Errorf("docs/TROUBLESHOOTING.md has an entry %s, which is no code", code)
	}
}
