package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/lab"
)

// crowds are the tests that called crowd.
var crowds sync.Map

// crowd lets a test run beside others in one lab of one node. Such a test has an
// instance, ports and folders of its own, and does nothing to its node but make
// containers there: it neither stops engines nor cuts nodes, takes no filter away,
// and does not measure the machine. Its cluster has no egress rules, which refuse
// the new containers of other instances for a moment. Call it first, in subtests
// as well that have clusters of their own.
func crowd(t *testing.T) {
	t.Helper()
	crowds.Store(t.Name(), true)
	t.Parallel()
}

func crowded(t testing.TB) bool {
	_, ok := crowds.Load(t.Name())
	return ok
}

// Ports of a test process. In a lab each takes a thousand that no other has.
const (
	firstPort = 20_000
	portsEach = 1_000
	lastSlot  = 11 // all are below the ports that the kernel gives
)

var ports struct {
	sync.Mutex
	slot *os.File // locked for as long as the process lives
	next int
	end  int
}

// takePorts returns the first of n ports that nobody else in the lab uses.
func takePorts(t testing.TB, l *lab.Lab, n int) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for slot := 0; ports.slot == nil; slot++ {
		if slot > lastSlot {
			t.Fatalf("%d test processes have all the ports of the lab", slot)
		}
		f, err := tryLock(l, "ports-"+strconv.Itoa(slot))
		if err != nil {
			t.Fatal(err)
		}
		if f != nil {
			ports.slot, ports.next, ports.end = f, firstPort+slot*portsEach, firstPort+(slot+1)*portsEach
		}
	}
	if ports.next+n > ports.end {
		ports.next = ports.end - portsEach // those of tests that have ended long ago
	}
	first := ports.next
	ports.next += n
	return first
}

// tryLock returns a file of the lab that this process has locked, or nil where
// another has.
func tryLock(l *lab.Lab, name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(l.Dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if err == syscall.EWOULDBLOCK {
			return nil, nil
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

// alone waits until no other test process in the lab uses what has a fixed address
// there, until the test ends.
func alone(t testing.TB, l *lab.Lab, what string) {
	t.Helper()
	for !poll(10*time.Minute, func() error {
		f, err := tryLock(l, what)
		if err == nil && f == nil {
			return fmt.Errorf("another test process has %s", what)
		}
		if err == nil {
			t.Cleanup(func() { f.Close() })
		}
		return err
	}) {
		t.Fatalf("another test process does not let go of %s", what)
	}
}

// patience is how long a test waits for what is to come. On a busy machine nothing
// is late before that.
const patience = 2 * time.Minute

// poll repeats do until it succeeds or the time is over. It charges one try a
// second at most: a machine that stood still meanwhile has used up none of it.
func poll(within time.Duration, do func() error) bool {
	const pause = 50 * time.Millisecond
	for left := within; left > 0; {
		began := time.Now()
		if do() == nil {
			return true
		}
		time.Sleep(pause)
		left -= min(time.Since(began), time.Second)
	}
	return false
}

// seed is what random tests draw from: E2E_SEED, or always the same. A test prints
// it.
func seed(t testing.TB) uint64 {
	t.Helper()
	n := uint64(1)
	if text := os.Getenv("E2E_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("E2E_SEED: %v", err)
		}
	}
	t.Logf("E2E_SEED=%d", n)
	return n
}

// pulse tells for how long this machine has stood still at most since it was called:
// a worker that is not run for longer than its lease of 10 s loses its job, and the
// job's next attempt is no fault.
func pulse(t testing.TB) (longest func() time.Duration) {
	var most atomic.Int64
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			now := time.Now()
			most.Store(max(most.Load(), int64(now.Sub(last))))
			last = now
		}
	}()
	return func() time.Duration { return time.Duration(most.Load()) }
}

// one expects that a job took one attempt, unless the machine stood still.
func one(t testing.TB, j ide.Job, longest func() time.Duration, why string) {
	t.Helper()
	if j.Attempt == 1 {
		return
	}
	if stood := longest(); stood > 3*time.Second { // a lease is renewed all that time
		t.Logf("the machine stood still for %v: attempt %d says nothing", stood, j.Attempt)
		return
	}
	t.Errorf("%s: attempt %d", why, j.Attempt)
}
