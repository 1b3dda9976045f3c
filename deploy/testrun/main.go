// Command testrun runs the compiled tests of bin/tests for gotestsum, and
// reports what gotestsum has recorded. deploy/suites says which test runs where.
//
//	testrun run LANE [-test.run=PATTERN PACKAGE]   run a lane, or "unit"; the last two run one test again
//	testrun report                                 slow, flaky and skipped tests of bin/test
//	testrun lanes SUITE                            the names of a suite's lanes
//	testrun lane NAME                              the nodes of its lab, and its options
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	switch err := run(os.Args[1:]); {
	case err == nil:
	case errors.Is(err, errFailed): // gotestsum has the events; it takes a word on stderr for an error of its own
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "testrun:", err)
		os.Exit(2)
	}
}

func run(args []string) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	s, err := readSuites(filepath.Join(root, "deploy", "suites"))
	if err != nil {
		return err
	}
	results := filepath.Join(root, "bin", "test")
	switch {
	case len(args) >= 2 && args[0] == "run":
		r := &runner{suites: s, root: root, log: filepath.Join(results, args[1]+".events"), out: os.Stdout}
		return r.run(args[1], args[2:])
	case len(args) == 1 && args[0] == "report":
		return report(results, filepath.Join(root, "bin", "flaky.json"), os.Stdout)
	case len(args) == 2 && args[0] == "lanes":
		for _, l := range s.lanes {
			if l.suite == args[1] {
				fmt.Println(l.name)
			}
		}
		return nil
	case len(args) == 2 && args[0] == "lane":
		l := s.lane(args[1])
		if l == nil {
			return fmt.Errorf("deploy/suites has no lane %q", args[1])
		}
		fmt.Println(l.nodes, strings.Join(l.options, " "))
		return nil
	}
	return errors.New("usage: testrun run LANE | report | lanes SUITE | lane NAME")
}
