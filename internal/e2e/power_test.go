package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/lab"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
)

// TestClosedAfterTheEngine stops the engine of a node in three ways and starts
// it again. Swarm brings its containers back before a worker is there to filter
// them. Each knocks at the other's ports all the time: nobody is let in, and
// nothing of the users' runs, until the worker has come; then nobody gets
// through, and the URLs answer. No worker runs meanwhile: the control plane
// gives up what runs on a node that Swarm has missed for some seconds.
func TestClosedAfterTheEngine(t *testing.T) {
	c := newCluster(t)
	c.lab.Need(2)
	workers := []*process{c.worker("n1"), c.worker("n2")}
	var two []functions.StartAnswer
	for range 4 { // spread over both nodes
		s := c.create()
		c.succeed(s.Job.ID)
		if _, _, err := c.taskContainer("n2", s.ID); err == nil {
			two = append(two, s)
		}
	}
	if len(two) != 2 {
		t.Fatalf("%d of 4 containers are on n2, want 2", len(two))
	}
	for _, how := range []lab.How{lab.Politely, lab.Kill, lab.Power} {
		for _, w := range workers {
			c.end(w, syscall.SIGKILL)
		}
		before := map[string]string{}
		for _, s := range two {
			_, before[s.ID] = c.engineOf("n2", s.ID)
		}
		c.lab.StopEngine("n2", how)
		c.lab.StartEngine("n2")
		k := c.knock("n2", two[0].ID, two[1].ID, before)
		c.eventually("both containers are back, and were knocked at", patience, func() error { return k.shut(20) })
		c.eventually("the node's edge is back", patience, func() error { return c.lab.EdgeCommand(context.Background(), "n2", "true").Run() })
		began := time.Now()
		workers = []*process{c.worker("n1"), c.worker("n2")}
		for _, s := range two {
			c.eventually("the URLs of "+s.ID+" answer", patience, func() error {
				if a := c.open(s.URLs.Code + "/login"); a.status != http.StatusOK || !strings.Contains(string(a.body), s.ID) {
					return fmt.Errorf("got %s", a)
				}
				return nil
			})
		}
		t.Logf("after a stop (%q) the URLs answered %v after the worker's start", how, time.Since(began).Round(10*time.Millisecond))
		let, tries := k.stop()
		if len(let) > 0 {
			t.Errorf("after a stop (%q) %d of %d knocks were let in, one with %s", how, len(let), tries, let[0])
		}
	}
}

// knocks are what containers of one node ask each other for.
type knocks struct {
	stop func() (let []string, tries int)

	mu     sync.Mutex
	tries  int
	rounds map[string]int // by who knocks: while its own agent was shut
	let    []string
}

// shut says whether each has knocked so often while its own agent said that it
// is shut, or one was let in already.
func (k *knocks) shut(times int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for from, n := range k.rounds {
		if n < times && len(k.let) == 0 {
			return fmt.Errorf("%s has knocked %d times while it was shut", from, n)
		}
	}
	return nil
}

// knock has two containers of a node ask for each other's pages from their new
// engine containers on, until it is stopped.
func (c *cluster) knock(node, one, two string, before map[string]string) *knocks {
	e, err := client.NewClientWithOpts(client.WithHost(c.lab.Node(node).Sock), client.WithAPIVersionNegotiation())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { e.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	c.t.Cleanup(cancel)
	e.NegotiateAPIVersion(ctx)
	k := &knocks{rounds: map[string]int{one: 0, two: 0}}
	var all sync.WaitGroup
	for from, to := range map[string]string{one: two, two: one} {
		all.Go(func() {
			for ctx.Err() == nil {
				pid, own := inside(ctx, e, from, before[from])
				if _, addr := inside(ctx, e, to, before[to]); pid != 0 && addr != "" {
					k.ask(ctx, from, pid, own, addr)
					continue
				}
				select {
				case <-ctx.Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
	k.stop = func() ([]string, int) {
		cancel()
		all.Wait()
		return k.let, k.tries
	}
	return k
}

// inside is the process and the address on the overlay of a container that is
// another for the engine than the one before; zero while there is none.
func inside(ctx context.Context, e *client.Client, id, before string) (pid int, addr string) {
	list, err := e.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "berth.id="+id))})
	if err != nil {
		return 0, ""
	}
	for _, l := range list {
		if l.ID == before {
			continue
		}
		got, err := e.ContainerInspect(ctx, l.ID)
		if err == nil && got.State.Running && got.NetworkSettings.Networks["ide-network"] != nil {
			return got.State.Pid, got.NetworkSettings.Networks["ide-network"].IPAddress
		}
	}
	return 0, ""
}

// ask asks once for each of the users' pages. The agent's words that it is shut
// are no page.
func (k *knocks) ask(ctx context.Context, from string, pid int, own, addr string) {
	for _, p := range ide.Ports {
		status, err := page(ctx, pid, fmt.Sprintf("%s:%d", addr, p.Number), 200*time.Millisecond)
		k.mu.Lock()
		k.tries++
		if err == nil && status != http.StatusServiceUnavailable {
			k.let = append(k.let, fmt.Sprintf("%d at %s", status, p.Name))
		}
		k.mu.Unlock()
	}
	if status, err := page(ctx, pid, fmt.Sprintf("%s:%d", own, ide.PortCode.Number), 5*time.Second); err == nil && status == http.StatusServiceUnavailable {
		k.mu.Lock()
		k.rounds[from]++
		k.mu.Unlock()
	}
}

// page is the status of what a server answers to a process. One that is shut off
// answers nothing.
func page(ctx context.Context, pid int, addr string, within time.Duration) (int, error) {
	asks := clientIn(pid, addr)
	asks.Timeout = within
	asks.Transport.(*http.Transport).DisableKeepAlives = true
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/", nil)
	if err != nil {
		return 0, err
	}
	res, err := asks.Do(req)
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	return res.StatusCode, nil
}
