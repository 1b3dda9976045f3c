package functions

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What a job shows has to be found in the pages that explain it.
func TestTheStepsOfAStartAreThoseOfTheDocuments(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	names := func(text, pattern string) (list []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			list = append(list, m[1])
		}
		return list
	}
	section := func(name, heading string) string {
		_, text, ok := strings.Cut(read(name), heading)
		if !ok {
			t.Fatalf("%s has no %q", name, heading)
		}
		text, _, _ = strings.Cut(text, "\n#")
		return text
	}
	const row = `(?m)^\| ([a-z]+) \|`
	steps := append(names(read("start.go"), `\{"([a-z]+)", func\(ctx`), "record")
	if got := names(section("../docs/architecture.md", "## One start"), row); !slices.Equal(got, append([]string{"step"}, steps...)) {
		t.Errorf("docs/architecture.md has the steps %v, a start %v", got, steps)
	}
	for _, name := range names(section("../docs/TROUBLESHOOTING.md", "### A start hangs"), row) {
		if name != "step" && name != "queue" && !slices.Contains(steps, name) {
			t.Errorf("docs/TROUBLESHOOTING.md explains a step %s, which no start has", name)
		}
	}
}
