package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// suites is the file deploy/suites.
type suites struct {
	suites []suite
	lanes  []lane
	first  []string // packages whose unit tests begin first
	inputs []string // of all suites; deploy/test reads them
}

type suite struct{ name, minutes, text string }

// lane is a set of tests that share a lab.
type lane struct {
	name, suite string
	nodes       string
	atOnce      string
	options     []string // images, and VARIABLE=VALUE
	packages    []string // in the order in which they run
	tests       map[string][]string
	twice       map[string]bool // tests that another lane has, too
}

func readSuites(path string) (*suites, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return parseSuites(file)
}

func parseSuites(r io.Reader) (*suites, error) {
	s := &suites{}
	for lines, n := bufio.NewScanner(r), 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		f := strings.Fields(text)
		if len(f) == 0 {
			continue
		}
		if err := s.add(f); err != nil {
			return nil, fmt.Errorf("deploy/suites, line %d: %w", n, err)
		}
	}
	return s, nil
}

func (s *suites) add(f []string) error {
	switch kind := f[0]; {
	case kind == "suite" && len(f) >= 4:
		s.suites = append(s.suites, suite{f[1], f[2], strings.Join(f[3:], " ")})
	case kind == "lane" && len(f) >= 5:
		if !slices.ContainsFunc(s.suites, func(one suite) bool { return one.name == f[2] }) {
			return fmt.Errorf("no suite is called %q", f[2])
		}
		s.lanes = append(s.lanes, lane{f[1], f[2], f[3], f[4], f[5:], nil, map[string][]string{}, map[string]bool{}})
	case kind == "tests" && len(f) >= 4:
		l := s.lane(f[1])
		if l == nil {
			return fmt.Errorf("no lane is called %q", f[1])
		}
		if !slices.Contains(l.packages, f[2]) {
			l.packages = append(l.packages, f[2])
		}
		for _, name := range f[3:] {
			name, twice := strings.CutSuffix(name, "+")
			l.tests[f[2]] = append(l.tests[f[2]], name)
			l.twice[name] = twice
		}
	case kind == "first":
		s.first = f[1:]
	case kind == "input" && len(f) >= 3:
		s.inputs = append(s.inputs, f[2:]...)
	default:
		return fmt.Errorf("not understood: %s", strings.Join(f, " "))
	}
	return nil
}

// lane returns the lane of that name, or nil.
func (s *suites) lane(name string) *lane {
	i := slices.IndexFunc(s.lanes, func(l lane) bool { return l.name == name })
	if i < 0 {
		return nil
	}
	return &s.lanes[i]
}

// inLanes returns the tests of a package that run in a lab.
func (s *suites) inLanes(pkg string) []string {
	names := map[string]bool{}
	for _, l := range s.lanes {
		for _, name := range l.tests[pkg] {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
