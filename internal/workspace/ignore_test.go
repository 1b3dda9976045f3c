package workspace

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestIgnoreRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rules, yes, no string // paths apart by spaces; a directory ends in /
	}{
		{"*.log", "a.log d/b.log x.log/", "a.logs log"},
		{"node_modules/", "node_modules/ d/node_modules/", "node_modules d/node_modules"},
		{"/top", "top top/", "d/top"},
		{"d/e", "d/e d/e/", "x/d/e"},
		{"d/*.c", "d/a.c", "d/e/a.c a.c"},
		{"**/x", "x d/x d/e/x", "xx"},
		{"d/**", "d/x d/e/x", "d d/"},
		{"a/**/b", "a/b a/x/b a/x/y/b", "b x/a/b"},
		{"a/**/**/b", "a/b a/x/b", "a"},
		{"*.o\n!keep.o", "a.o", "keep.o d/keep.o"},
		{"!a\na", "a", "b"},
		{"a?c", "abc", "ac a/c abbc"},
		{"[a-c]x", "ax cx", "dx"},
		{"[!a-c]x", "dx", "ax"},
		{`\#a`, "#a", "a"},
		{`\!a`, "!a", "a"},
		{`a\*`, "a*", "ab"},
		{"# a\n\n   \nb\r\n", "b", "a #"},
		{"[", "", "[ a"},
		{"/", "", "a"},
		{"**", "a d/b", ""},
	} {
		rules := parseIgnore([]byte(c.rules))
		for _, p := range strings.Fields(c.yes) {
			if p, dir := strings.CutSuffix(p, "/"); !rules.match(p, dir) {
				t.Errorf("%q does not match %q", c.rules, p)
			}
		}
		for _, p := range strings.Fields(c.no) {
			if p, dir := strings.CutSuffix(p, "/"); rules.match(p, dir) {
				t.Errorf("%q matches %q", c.rules, p)
			}
		}
	}
}

// ignores walks as a save does.
func (rules ignoreRules) ignores(p string) bool {
	names := strings.Split(p, "/")
	for i := range names {
		if rules.match(strings.Join(names[:i+1], "/"), i < len(names)-1) {
			return true
		}
	}
	return false
}

// git is the judge of what a pattern means.
func TestIgnoreRulesAgreeWithGit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not in PATH")
	}
	dir := t.TempDir()
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v %s", err, out)
	}
	names := []string{"a", "b", "ab", "a.b", "x.log", "keep.log", "#a", "!b", "build"}
	var paths []string
	for _, x := range names {
		paths = append(paths, x)
		for _, y := range names {
			paths = append(paths, x+"/"+y, x+"/mid/"+y)
		}
	}
	for _, rules := range []string{
		"a", "/a", "a/", "a/b", "/a/b", "a/*", "a/**", "**/a", "**/a/b", "a/**/b", "*", "*\n!a", "*\n!*/\n!a", "*.log\n!keep.log",
		"build/\n!build/a", "[ab]", "[!ab]", "[^ab]", "a*", "*b", "?", "a.?", `\#a`, `\!b`, "mid/b", "/*/b", "*/b", "**/mid/**", "a/mid/\n!a/mid/b",
		"a  ", "a/**/", "**/", "/**", "!a", "a\n!a\na", "a/**/mid/**/b", "x.log/a",
	} {
		if err := os.WriteFile(filepath.Join(dir, ".git", "info", "exclude"), []byte(rules+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		mine := parseIgnore([]byte(rules))
		cmd := exec.Command("git", "-C", dir, "check-ignore", "--no-index", "--stdin", "-z")
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null")
		cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00") + "\x00")
		out, err := cmd.Output()
		if err != nil && cmd.ProcessState.ExitCode() != 1 {
			t.Fatalf("git check-ignore: %v", err)
		}
		git := map[string]bool{}
		for p := range bytes.SplitSeq(out, []byte{0}) {
			git[string(p)] = true
		}
		for _, p := range paths {
			if mine.ignores(p) != git[p] {
				t.Errorf("rules %q: %q is ignored: %v, by git: %v", rules, p, !git[p], git[p])
			}
		}
	}
}

func TestIgnoredIsNotSaved(t *testing.T) {
	t.Parallel()
	s := memory(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, s.bucket(t), dir)
	write(t, dir, "cache/x", "1")
	write(t, dir, "a.log", "1")
	write(t, dir, "keep", "1")
	mustSave(t, w)
	write(t, dir, IgnoreFile, "cache/\n*.log\n")
	if got := mustSave(t, w); got.Files != 2 || got.Ignored != 2 {
		t.Errorf("saved %+v", got)
	}
	// Copies in the bucket of what is on the disk stay there.
	wantPlain(t, w.b, map[string]string{"keep": "1", IgnoreFile: "cache/\n*.log\n", "cache/x": "1", "a.log": "1"})
	os.RemoveAll(filepath.Join(dir, "cache"))
	write(t, dir, "keep", "2")
	mustSave(t, w)
	wantPlain(t, w.b, map[string]string{"keep": "2", IgnoreFile: "cache/\n*.log\n", "cache/x": "1", "a.log": "1"})
	// One that comes back under the rules again is known for what it is.
	write(t, dir, IgnoreFile, "cache/\n")
	write(t, dir, "a.log", "22")
	if got := mustSave(t, w); len(got.Mirror.Conflicts) != 0 {
		t.Errorf("conflicts %v, want none", got.Mirror.Conflicts)
	}
	wantPlain(t, w.b, map[string]string{"keep": "2", IgnoreFile: "cache/\n", "cache/x": "1", "a.log": "22"})
}

func FuzzIgnore(f *testing.F) {
	f.Add("*.log\n!a/**/b\n[a-", "a/x/b")
	f.Add("**/**/**/**/a/**", "a/a/a/a/a/a/a/a")
	f.Fuzz(func(t *testing.T, text, p string) {
		rules := parseIgnore([]byte(text))
		dir, file := rules.match(p, true), rules.match(p, false)
		only := false
		for _, r := range rules {
			only = only || r.dirOnly
			if len(r.names) == 0 {
				t.Errorf("a rule without a pattern in %q", text)
			}
		}
		if !only && dir != file {
			t.Errorf("%q tells a directory %q from a file", text, p)
		}
	})
}
