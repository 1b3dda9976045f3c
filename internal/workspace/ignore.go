package workspace

import (
	"bytes"
	"path"
	"strings"
)

// IgnoreFile, at the root of a workspace, says what is not saved. It is
// gitignore's language: one pattern a line, "#" begins a comment, "!" takes a
// name in again, the last line that matches decides. A pattern with a slash at
// its beginning or within is meant from the root, any other matches a name at
// every depth. A slash at the end asks for a directory. "*", "?" and "[a-z]" stay
// within one name; "**" as a whole name stands for any number of them. A
// backslash takes a character's meaning away. What lies in a directory that is
// ignored cannot be taken in again. A line that is no pattern is passed over.
// There is one such file: those in directories below are not read.
const IgnoreFile = ".berthignore"

// maxIgnore bounds the file.
const maxIgnore = 256 << 10

// ignoreRules is an IgnoreFile.
type ignoreRules []ignoreRule

type ignoreRule struct {
	names   []string // patterns of names; "**" is any number of them
	negated bool
	dirOnly bool
}

func parseIgnore(text []byte) ignoreRules {
	var rules ignoreRules
	for raw := range bytes.SplitSeq(text, []byte("\n")) {
		if r, ok := parseRule(strings.TrimSuffix(string(raw), "\r")); ok {
			rules = append(rules, r)
		}
	}
	return rules
}

func parseRule(line string) (r ignoreRule, ok bool) {
	if strings.HasPrefix(line, "#") {
		return r, false
	}
	for strings.HasSuffix(line, " ") && !strings.HasSuffix(line, `\ `) {
		line = line[:len(line)-1]
	}
	if rest, found := strings.CutPrefix(line, "!"); found {
		r.negated, line = true, rest
	}
	line, r.dirOnly = strings.CutSuffix(line, "/")
	line, anchored := strings.CutPrefix(line, "/")
	if line == "" {
		return r, false
	}
	names := strings.Split(line, "/")
	if !anchored && len(names) == 1 {
		names = []string{"**", names[0]}
	}
	for i, name := range names {
		if name == "**" {
			if i == 0 || names[i-1] != "**" {
				r.names = append(r.names, name)
			}
			continue
		}
		name = goClasses(name)
		if _, err := path.Match(name, ""); err != nil || name == "" {
			return r, false
		}
		r.names = append(r.names, name)
	}
	return r, true
}

// goClasses turns gitignore's [!a] into path.Match's [^a].
func goClasses(name string) string {
	b := []byte(name)
	for i := 0; i < len(b)-1; i++ {
		switch {
		case b[i] == '\\':
			i++
		case b[i] == '[' && b[i+1] == '!':
			b[i+1] = '^'
		}
	}
	return string(b)
}

// match says whether a path, whose directories are not ignored, is.
func (rules ignoreRules) match(p string, dir bool) bool {
	if len(rules) == 0 {
		return false
	}
	names := strings.Split(p, "/")
	for i := len(rules) - 1; i >= 0; i-- {
		if r := rules[i]; (dir || !r.dirOnly) && r.match(names) {
			return !r.negated
		}
	}
	return false
}

// match compares name by name. at[i] says that the first i patterns can stand
// for the names seen so far: linear in both, whatever the stars.
func (r ignoreRule) match(names []string) bool {
	at := make([]bool, len(r.names)+1)
	at[0] = true
	skip := func(last bool) {
		for i, pattern := range r.names {
			// "a/**" is what lies in a, not a itself.
			if at[i] && pattern == "**" && !(last && i == len(r.names)-1) {
				at[i+1] = true
			}
		}
	}
	skip(true)
	for n, name := range names {
		next := make([]bool, len(at))
		for i, pattern := range r.names {
			switch {
			case !at[i]:
			case pattern == "**":
				next[i] = true
				if i == len(r.names)-1 {
					next[i+1] = true
				}
			default:
				if ok, _ := path.Match(pattern, name); ok {
					next[i+1] = true
				}
			}
		}
		at = next
		skip(n == len(names)-1)
	}
	return at[len(r.names)]
}
