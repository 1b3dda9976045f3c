package main

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// talk runs authenticate between a person and a server that both say what is
// given, and returns what each has heard.
func talk(t *testing.T, person, server string, wait time.Duration) (right bool, err error, personHeard, serverHeard string) {
	t.Helper()
	p, pa := net.Pipe()
	s, sa := net.Pipe()
	heard := func(c net.Conn, says string) <-chan string {
		ch := make(chan string, 1)
		go func() { io.WriteString(c, says) }()
		go func() {
			b, _ := io.ReadAll(c)
			ch <- string(b)
		}()
		return ch
	}
	ph, sh := heard(p, person), heard(s, server)
	right, err = authenticate(pa, sa, func() time.Duration { return wait })
	pa.Close()
	sa.Close()
	return right, err, <-ph, <-sh
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	challenge, response := strings.Repeat("c", 16), strings.Repeat("r", 16)
	server := rfbVersion + "\x01\x02" + challenge
	person := rfbVersion + "\x02" + response
	for name, c := range map[string]struct {
		person, server string
		wait           time.Duration
		right          bool
		err            error
		toServer       string
		toPerson       string
	}{
		"right password":    {person, server + "\x00\x00\x00\x00", 0, true, nil, person, server + "\x00\x00\x00\x00"},
		"wrong password":    {person, server + "\x00\x00\x00\x01", 0, false, nil, person, server + "\x00\x00\x00\x01"},
		"one too many":      {person, server, 7 * time.Second, false, errRefused, rfbVersion + "\x02", server + "\x00\x00\x00\x01\x00\x00\x00\x2b" + tooMany(7*time.Second)},
		"an old protocol":   {"RFB 003.003\n", server, 0, false, errProtocol, "RFB 003.003\n", rfbVersion},
		"no password asked": {rfbVersion + "\x01", server, 0, false, errProtocol, rfbVersion + "\x01", rfbVersion + "\x01\x02"},
		"server refuses":    {rfbVersion, rfbVersion + "\x00", 0, false, nil, rfbVersion, rfbVersion + "\x00"},
	} {
		right, err, toPerson, toServer := talk(t, c.person, c.server, c.wait)
		if right != c.right || !errors.Is(err, c.err) {
			t.Errorf("%s: got %v %v, want %v %v", name, right, err, c.right, c.err)
		}
		if toPerson != c.toPerson || toServer != c.toServer {
			t.Errorf("%s: person heard %q, want %q; server heard %q, want %q", name, toPerson, c.toPerson, toServer, c.toServer)
		}
	}
}

func TestHandshakeBrokenOff(t *testing.T) {
	t.Parallel()
	p, pa := net.Pipe()
	s, sa := net.Pipe()
	go func() {
		io.WriteString(s, rfbVersion)
		s.Close()
	}()
	go func() {
		io.ReadFull(p, make([]byte, 12))
		p.Close()
	}()
	if _, err := authenticate(pa, sa, func() time.Duration { return 0 }); err == nil {
		t.Error("no error")
	}
}

// TestVNCPasswordFile compares with what vncpasswd -f of TigerVNC 1.12 writes.
func TestVNCPasswordFile(t *testing.T) {
	t.Parallel()
	if got, want := string(vncPasswordFile("password")), "\xdb\xd8\x3c\xfd\x72\x7a\x14\x58"; got != want {
		t.Errorf("got %x, want %x", got, want)
	}
}
