package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCPUSeconds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		file, text string
		want       float64
	}{
		"version 2":           {"cpu.stat", "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n", 2.5},
		"version 1":           {"cpuacct/cpuacct.usage", "1250000000\n", 1.25},
		"not read":            {"memory.stat", "anon 1\n", 0},
		"not what was hoped":  {"cpu.stat", "usage_usec many\n", 0},
		"no usage in version": {"cpu.stat", "nr_periods 0\n", 0},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, tc.file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(tc.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := cpuSeconds(dir); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}
