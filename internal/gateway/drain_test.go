package gateway

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A gateway that ends tells the clients of WebSockets that it goes away, and ends
// when they have left, long before its grace is over.
func TestClientsAreToldToLeave(t *testing.T) {
	t.Parallel()
	e := newEdge(t, newSource(running(idA, "10.1.0.5")), func(c *Config) { c.Grace = 10 * time.Minute })
	e.backend(t, "10.1.0.5:8080", echo)
	var clients sync.WaitGroup
	for range 3 {
		ws := e.dialWS(t, idA+"-code.localhost", nil)
		say(t, ws, "hello")
		clients.Go(func() {
			if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("got %v, want the status 1001, going away", err)
			}
		})
	}
	e.stop()
	clients.Wait()
	if ws, _, err := websocket.Dial(t.Context(), e.url, &websocket.DialOptions{HTTPClient: visitor, Host: idA + "-code.localhost"}); err == nil {
		ws.CloseNow()
		t.Error("a WebSocket opened while it drained")
	}
}

// What does not leave by itself is cut when the grace is over, and not before.
func TestDeafClientsAreCutAfterTheGrace(t *testing.T) {
	t.Parallel()
	const grace = 300 * time.Millisecond
	e := newEdge(t, newSource(running(idA, "10.1.0.5")), func(c *Config) { c.Grace = grace })
	e.backend(t, "10.1.0.5:6080", func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nhello")
		rw.Flush()
		_, _ = io.Copy(io.Discard, conn)
	})
	conn, err := net.Dial("tcp", e.url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	key, done := e.visit()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s-vnc.localhost\r\n%s: %s\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n", idA, doneHeader, key)
	head := make([]byte, 12)
	if _, err := io.ReadFull(conn, head); err != nil || string(head) != "HTTP/1.1 101" {
		t.Fatalf("got %q, %v", head, err)
	}
	began := time.Now()
	e.stop()
	if took := time.Since(began); took < grace {
		t.Errorf("it ended after %s, want its grace of %s", took, grace)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Logf("cut: %v", err)
	}
	<-done
}

// The close frame stands between two frames, however they are cut into pieces, and
// nothing follows it.
func TestCloseFrameStandsBetweenFrames(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for range 200 {
		var all []byte
		ends := []int{0}
		for range r.IntN(8) {
			all = append(all, frameOf(2, r.IntN([]int{10, 1000, 70_000}[r.IntN(3)]))...)
			ends = append(ends, len(all))
		}
		closes := r.IntN(4) == 0
		if closes {
			all = append(all, frameOf(opClose, 2)...)
		}
		at, sink := r.IntN(len(all)+1), &sinkConn{}
		w := &wire{Conn: sink}
		told := false
		for i := 0; i < len(all); {
			n := min(1+r.IntN(5000), len(all)-i)
			if !told && i+n > at {
				n = max(at-i, 0)
			}
			if _, err := w.Write(all[i : i+n]); err != nil {
				t.Fatal(err)
			}
			if i += n; !told && i >= at {
				w.leave()
				told = true
			}
		}
		if !told {
			w.leave()
		}
		got := sink.Bytes()
		if closes && at > ends[len(ends)-1] { // the container was first
			if !bytes.Equal(got, all) {
				t.Fatalf("a close frame of the container's was not left to itself")
			}
			continue
		}
		end := ends[len(ends)-1]
		for _, e := range ends {
			if e >= at {
				end = e
				break
			}
		}
		if want := append(bytes.Clone(all[:end]), goingAway...); !bytes.Equal(got, want) {
			t.Fatalf("told after %d of %d bytes: got %d bytes, want %d", at, len(all), len(got), len(want))
		}
	}
}

// frameOf is a server's frame.
func frameOf(op byte, size int) []byte {
	f := []byte{0x80 | op}
	switch {
	case size < 126:
		f = append(f, byte(size))
	case size < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 126), uint16(size))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 127), uint64(size))
	}
	return append(f, make([]byte, size)...)
}

// sinkConn keeps what is written.
type sinkConn struct {
	net.Conn
	bytes.Buffer
}

func (s *sinkConn) Write(p []byte) (int, error)      { return s.Buffer.Write(p) }
func (s *sinkConn) Read(p []byte) (int, error)       { return s.Buffer.Read(p) }
func (s *sinkConn) SetWriteDeadline(time.Time) error { return nil }
