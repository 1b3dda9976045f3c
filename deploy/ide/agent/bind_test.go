package main

import (
	"io"
	"log/slog"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestServersGiveWay runs servers that bind all addresses of a port that the
// agent has on one.
func TestServersGiveWay(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{
		"all IPv4 addresses":    "0.0.0.0:",
		"all addresses":         ":",
		"the loopback's, as is": "127.0.0.1:",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outer, err := net.Listen("tcp", "127.0.0.2:0")
			if err != nil {
				t.Fatal(err)
			}
			defer outer.Close()
			_, port, _ := net.SplitHostPort(outer.Addr().String())
			n, _ := strconv.Atoi(port)
			p, log := newTestProgram("serve", address+port)
			p.yields = uint16(n)
			begin(t, p)
			got := log.find(t, `"line":"([^"]*listen[^"]*)"`)[1]
			if !strings.HasSuffix(got, "127.0.0.1:"+port) {
				t.Fatalf("got %q, want the loopback's address", got)
			}
			res, err := visitor.Get("http://127.0.0.1:" + port)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if b, _ := io.ReadAll(res.Body); string(b) != "user's server" {
				t.Errorf("got %q", b)
			}
		})
	}
}

func TestOtherPortsAreLeftAlone(t *testing.T) {
	t.Parallel()
	p, log := newTestProgram("serve", "0.0.0.0:0")
	p.yields = 3000
	begin(t, p)
	if got := log.find(t, `listens on (\S+?)"`)[1]; strings.HasPrefix(got, "127.") {
		t.Errorf("moved to %s", got)
	}
}

func TestWithoutTheFilterThePortIsTaken(t *testing.T) {
	t.Parallel()
	outer, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outer.Close()
	_, port, _ := net.SplitHostPort(outer.Addr().String())
	out, _ := child("serve", "0.0.0.0:"+port).CombinedOutput()
	if !strings.Contains(string(out), "in use") {
		t.Errorf("got %s: then the filter is not needed", out)
	}
}

func TestMovedAddresses(t *testing.T) {
	t.Parallel()
	const port = 3000
	for name, c := range map[string]struct {
		sockaddr string
		offset   int64
		want     string
	}{
		"all IPv4":       {"\x02\x00\x0b\xb8\x00\x00\x00\x00" + strings.Repeat("\x00", 8), 4, "\x7f\x00\x00\x01"},
		"one IPv4":       {"\x02\x00\x0b\xb8\x0a\x00\x00\x05" + strings.Repeat("\x00", 8), 4, "\x7f\x00\x00\x01"},
		"loopback":       {"\x02\x00\x0b\xb8\x7f\x00\x00\x01" + strings.Repeat("\x00", 8), 0, ""},
		"another port":   {"\x02\x00\x0b\xb9\x00\x00\x00\x00" + strings.Repeat("\x00", 8), 0, ""},
		"all IPv6":       {"\x0a\x00\x0b\xb8" + strings.Repeat("\x00", 24), 8, strings.Repeat("\x00", 10) + "\xff\xff\x7f\x00\x00\x01"},
		"IPv6 loopback":  {"\x0a\x00\x0b\xb8" + strings.Repeat("\x00", 19) + "\x01" + strings.Repeat("\x00", 4), 0, ""},
		"another family": {"\x01\x00\x0b\xb8" + strings.Repeat("\x00", 24), 0, ""},
		"cut IPv6":       {"\x0a\x00\x0b\xb8" + strings.Repeat("\x00", 12), 0, ""},
	} {
		offset, got := moved([]byte(c.sockaddr), port)
		if offset != c.offset || string(got) != c.want {
			t.Errorf("%s: got %d %q, want %d %q", name, offset, got, c.offset, c.want)
		}
	}
}

func TestExecErrors(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"1"}, {"x", "/bin/true"}} {
		if execUnderFilter(args) == nil {
			t.Errorf("%q: no error", args)
		}
	}
	cmd := exec.Command("/nowhere/program")
	w, err := watchBinds(cmd, 3000, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	w.started()
	if err == nil || !strings.Contains(string(out), "no such file") {
		t.Errorf("got %v %s, want the reason", err, out)
	}
}
