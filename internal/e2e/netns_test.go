package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// dialIn returns a dialer whose connections start in the network namespace of
// a process.
func dialIn(pid int) func(context.Context, string, string) (net.Conn, error) {
	return dialFrom(fmt.Sprintf("/proc/%d/ns/net", pid))
}

// dialFrom returns a dialer whose connections start in the network namespace
// that a file stands for: a socket stays in the namespace it was made in.
func dialFrom(netns string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		type result struct {
			conn net.Conn
			err  error
		}
		done := make(chan result, 1)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, in the wrong namespace
			ns, err := os.Open(netns)
			if err == nil {
				defer ns.Close()
				err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			}
			if err != nil {
				done <- result{err: err}
				return
			}
			d := net.Dialer{Timeout: 30 * time.Second, FallbackDelay: -1}
			conn, err := d.DialContext(ctx, network, addr)
			done <- result{conn, err}
		}()
		r := <-done
		return r.conn, r.err
	}
}

// clientIn returns an HTTP client in the network of a process. Every host
// name leads to addr.
func clientIn(pid int, addr string) *http.Client {
	dial := dialIn(pid)
	return &http.Client{
		Timeout:       90 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dial(ctx, network, addr)
		}},
	}
}

// listenIn listens in the network namespace of a process.
func listenIn(pid int, addr string) (net.Listener, error) {
	type result struct {
		l   net.Listener
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // as in dialIn
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			done <- result{err: err}
			return
		}
		l, err := net.Listen("tcp", addr)
		done <- result{l, err}
	}()
	r := <-done
	return r.l, r.err
}
