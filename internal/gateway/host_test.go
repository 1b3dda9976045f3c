package gateway

import (
	"net"
	"strings"
	"testing"

	"berth/internal/ide"
)

func TestHosts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		domain, host string
		id           string // empty: not a container's host
		port         string
	}{
		"as the URLs have it":            {"localhost:8080", idA + "-code.localhost:8080", idA, "code"},
		"without a port":                 {"localhost:8080", idA + "-vnc.localhost", idA, "vnc"},
		"another port":                   {"localhost", idA + "-web.localhost:1", idA, "web"},
		"upper case":                     {"Example.COM", strings.ToUpper(idA) + "-CODE.EXAMPLE.com", idA, "code"},
		"trailing dot":                   {"example.com.", idA + "-code.example.com.", idA, "code"},
		"trailing dot and port":          {"example.com", idA + "-code.example.com.:443", idA, "code"},
		"unknown suffix":                 {"example.com", idA + "-ssh.example.com", idA, ""},
		"the domain itself":              {"example.com", "example.com", "", ""},
		"ID too short":                   {"localhost", "foo-code.localhost:8080", "", ""},
		"no suffix":                      {"example.com", idA + ".example.com", "", ""},
		"empty suffix":                   {"example.com", idA + "-.example.com", "", ""},
		"characters no ID has":           {"example.com", "k3xqh5zt2mwf1-code.example.com", "", ""},
		"a label more":                   {"example.com", "x." + idA + "-code.example.com", "", ""},
		"a label between":                {"example.com", idA + "-code.x.example.com", "", ""},
		"the domain without its dot":     {"example.com", idA + "-codeexample.com", "", ""},
		"another domain that ends alike": {"example.com", idA + "-code.evil-example.com", "", ""},
		"two trailing dots":              {"example.com", idA + "-code.example.com..", "", ""},
		"port of letters":                {"example.com", idA + "-code.example.com:http", "", ""},
		"empty port":                     {"example.com", idA + "-code.example.com:", "", ""},
		"port too long":                  {"example.com", idA + "-code.example.com:123456", "", ""},
		"user info":                      {"example.com", "a@" + idA + "-code.example.com", "", ""},
		"an address":                     {"example.com", "[::1]:80", "", ""},
		"Kelvin sign for k":              {"example.com", "\u212a3xqh5zt2mwfa-code.example.com", "", ""},
		"line feed":                      {"example.com", idA + "-code.example.com\n", "", ""},
		"very long":                      {"example.com", idA + "-" + strings.Repeat("a", 300) + ".example.com", "", ""},
		"empty":                          {"example.com", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := New(Config{Domain: c.domain})
			id, port, ok := g.parse(c.host)
			if id != c.id || port.Name != c.port || ok != (c.id != "") || g.Match(c.host) != ok {
				t.Errorf("got %q %q %v, want %q %q", id, port.Name, ok, c.id, c.port)
			}
		})
	}
}

// FuzzHost holds parse against what the standard library makes of a host: what
// it takes is exactly one label with a valid ID before the domain.
func FuzzHost(f *testing.F) {
	for _, s := range []string{
		idA + "-code.localhost:8080", idA + "-vnc.localhost.", idA + "-x.localhost", "foo-code.localhost:8080",
		strings.ToUpper(idA) + "-WEB.LOCALHOST", "[::1]:8080", ":", ".localhost", "a..localhost", "\u212a3xqh5zt2mwfa-code.localhost",
		idA + "-code.localhost:80:80", idA + "-code.localhost:", "-code.localhost", strings.Repeat("a", 254), "%00", " localhost",
	} {
		f.Add(s)
	}
	g := New(Config{Domain: "localhost:8080"})
	f.Fuzz(func(t *testing.T, host string) {
		id, port, ok := g.parse(host)
		if !ok {
			if id != "" || port != (ide.Port{}) {
				t.Fatalf("%q: refused but got %q %v", host, id, port)
			}
			return
		}
		name := host
		if h, _, err := net.SplitHostPort(host); err == nil {
			name = h
		}
		label, rest, _ := strings.Cut(strings.ToLower(strings.TrimSuffix(name, ".")), ".")
		gotID, suffix, _ := strings.Cut(label, "-")
		if rest != "localhost" || gotID != id || !ide.ValidID(id) || len(name) > maxHost+1 {
			t.Fatalf("%q: got ID %q under %q", host, id, rest)
		}
		if port != (ide.Port{}) && port.Name != suffix {
			t.Fatalf("%q: got port %v for suffix %q", host, port, suffix)
		}
	})
}
