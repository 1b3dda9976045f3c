package gateway

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// Of draining: clients that are told to leave come back at once, so they are told one
// after the other, within the first part of the grace.
const (
	leaveStep   = 250 * time.Millisecond // at most, between two
	drainLook   = 20 * time.Millisecond
	leaveWithin = time.Second // to write the close frame
)

// held is an upgraded connection.
type held struct {
	cancel context.CancelFunc // cuts it

	mu   sync.Mutex
	wire *wire // nil before it is upgraded, and where it is no WebSocket
}

// leave tells a WebSocket's client that the server goes away.
func (h *held) leave() {
	h.mu.Lock()
	w := h.wire
	h.mu.Unlock()
	if w != nil {
		w.leave()
	}
}

// upgrades returns all upgraded connections.
func (g *Gateway) upgrades() (all []*held) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, rt := range g.routes {
		if rt.to == nil {
			continue
		}
		rt.to.mu.Lock()
		for h := range rt.to.upgraded {
			all = append(all, h)
		}
		rt.to.mu.Unlock()
	}
	return all
}

// drain tells the clients of upgraded connections to leave and waits for them, for
// the grace at most.
func (g *Gateway) drain() {
	end := time.Now().Add(g.cfg.Grace)
	all := g.upgrades()
	if len(all) == 0 || g.cfg.Grace <= 0 {
		return
	}
	g.cfg.Log.Info("gateway drains", "connections", len(all), "grace", g.cfg.Grace)
	step := min(g.cfg.Grace*4/5/time.Duration(len(all)), leaveStep)
	for i, h := range all {
		if i > 0 {
			time.Sleep(step)
		}
		h.leave()
	}
	for len(g.upgrades()) > 0 && time.Now().Before(end) {
		time.Sleep(drainLook)
	}
}

// goingAway is a close frame of a server with the status 1001 (RFC 6455, 7.4.1).
var goingAway = []byte{0x88, 2, 0x03, 0xe9}

const (
	opClose   = 8
	maskedBit = 0x80
)

// wire is a WebSocket's client. What is written to it are the frames of the
// container's side, whose borders it knows: a close frame of our own may stand
// between two only.
type wire struct {
	net.Conn
	mu      sync.Mutex
	head    []byte // of a frame, until it is whole
	left    uint64 // of the present frame's payload
	last    bool   // the present frame is the container's close frame
	leaving bool
	over    bool // a close frame was sent: no frame may follow
}

// Write passes frames on. What follows the close frame is dropped.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return len(p), nil
	}
	n := w.scan(p)
	if _, err := w.Conn.Write(p[:n]); err != nil {
		return 0, err
	}
	if w.leaving && w.between() && !w.over {
		return len(p), w.goAway()
	}
	return len(p), nil
}

func (w *wire) between() bool { return w.left == 0 && len(w.head) == 0 }

// scan follows the frames and returns how much of p is to be passed on: all, or, when
// the connection is to end, what is left of the present frame.
func (w *wire) scan(p []byte) int {
	for i := 0; i < len(p); {
		if w.leaving && w.between() {
			return i
		}
		if w.left > 0 {
			n := min(w.left, uint64(len(p)-i))
			w.left -= n
			i += int(n)
			w.over = w.last && w.left == 0
			continue
		}
		w.head = append(w.head, p[i])
		i++
		if size, whole := frame(w.head); whole {
			w.last = w.head[0]&0x0f == opClose // the container says it itself
			w.left, w.head = size, w.head[:0]
			w.over = w.last && w.left == 0
		}
	}
	return len(p)
}

// frame returns the size of a frame's payload once its head is whole.
func frame(head []byte) (size uint64, whole bool) {
	if len(head) < 2 {
		return 0, false
	}
	n, size := 2, uint64(head[1]&0x7f)
	switch size {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	need := n
	if head[1]&maskedBit != 0 {
		need += 4
	}
	if len(head) < need {
		return 0, false
	}
	switch size {
	case 126:
		size = uint64(binary.BigEndian.Uint16(head[2:4]))
	case 127:
		size = binary.BigEndian.Uint64(head[2:10])
	}
	return size, true
}

// leave sends the close frame, at the end of the present frame.
func (w *wire) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaving = true
	if w.between() && !w.over {
		_ = w.goAway() // one that cannot be written to is cut in the end
	}
}

// goAway writes the close frame. The client answers with its own, which goes to the
// container, whose end of the connection ends it.
func (w *wire) goAway() error {
	w.over = true
	_ = w.Conn.SetWriteDeadline(time.Now().Add(leaveWithin))
	_, err := w.Conn.Write(goingAway)
	return err
}

// CloseWrite ends the container's half, as on the connection itself.
func (w *wire) CloseWrite() error {
	if c, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return w.Conn.Close()
}
