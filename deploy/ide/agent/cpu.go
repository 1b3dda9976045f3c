package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cpuSeconds is the CPU time that a control group has used, as the kernel
// counts it: cpu.stat of version 2, cpuacct.usage of version 1. It is 0 where
// neither can be read.
func cpuSeconds(cgroup string) float64 {
	if b, err := os.ReadFile(filepath.Join(cgroup, "cpu.stat")); err == nil {
		for line := range strings.Lines(string(b)) {
			if usec, ok := strings.CutPrefix(line, "usage_usec "); ok {
				return number(usec) / 1e6
			}
		}
	}
	b, err := os.ReadFile(filepath.Join(cgroup, "cpuacct", "cpuacct.usage"))
	if err != nil {
		return 0
	}
	return number(string(b)) / 1e9
}

func number(s string) float64 {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return 0
	}
	return float64(n)
}
