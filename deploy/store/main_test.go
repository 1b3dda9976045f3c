package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestStoreBecomesTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var argv, env []string
	exec := func(_ string, a, e []string) error { argv, env = a, e; return nil }
	if err := run([]string{secret, dir, "work", "127.0.0.1:7070"}, exec); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(argv, " "), "versitygw --port 127.0.0.1:7070 --quiet posix "+dir; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !slices.Contains(env, "ROOT_SECRET_KEY=key") || !slices.Contains(env, "ROOT_ACCESS_KEY=berth") {
		t.Errorf("the server has no keys in %q", env)
	}
	if info, err := os.Stat(filepath.Join(dir, "work")); err != nil || !info.IsDir() {
		t.Errorf("the bucket: %v, %v", info, err)
	}
	if err := os.WriteFile(secret, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{secret, dir, "work", ":7070"}, {secret + "x", dir, "work", ":7070"}, {}} {
		if err := run(args, exec); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"health", l.Addr().String()}, nil); err != nil {
		t.Error(err)
	}
	l.Close()
	if err := run([]string{"health", l.Addr().String()}, nil); err == nil {
		t.Error("nothing listens, and that is healthy")
	}
}
