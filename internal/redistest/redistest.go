// Package redistest gives tests a Redis of their own: a real redis-server
// where one is in PATH, and one in the test's process elsewhere.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// patience is how long a machine may do nothing for a test.
const patience = time.Minute

// New returns a client of a Redis that only this test uses. In CI a missing
// redis-server is a failure.
func New(t testing.TB) *redis.Client {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("redis-server is not in PATH")
		}
		return inProcess(t)
	}
	dir, err := os.MkdirTemp("", "berth-redis") // a short path: sockets have 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir, "--loglevel", "warning")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	c := client(t, &redis.Options{Network: "unix", Addr: socket})
	for end := time.Now().Add(patience); c.Ping(context.Background()).Err() != nil; {
		if time.Now().After(end) {
			t.Fatal("redis-server does not answer")
		}
		time.Sleep(5 * time.Millisecond)
	}
	return c
}

var lastPort atomic.Int32

// Port returns a port of 127.0.0.1 that nobody listens on, for a server that has
// to be told one. No listener or connection of another test is given it by
// chance before it is used: it is not among those that the kernel gives out.
func Port(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 20_000 + (os.Getpid()*37+int(lastPort.Add(1)))%10_000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// inProcess runs a miniredis, whose clock has to be pushed for keys to
// expire.
func inProcess(t testing.TB) *redis.Client {
	m := miniredis.RunT(t)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		for tick := time.Tick(20 * time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-tick:
				m.FastForward(20 * time.Millisecond)
			}
		}
	}()
	return client(t, &redis.Options{Addr: m.Addr()})
}

func client(t testing.TB, o *redis.Options) *redis.Client {
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = patience, patience, patience, patience
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}
