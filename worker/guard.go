package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/swarm"
)

// How often the guard looks.
const (
	filterLook  = 200 * time.Millisecond // less than an engine takes from making the overlay's namespace to starting a container in it
	egressLook  = time.Second
	egressRenew = 10 * time.Minute // the rules hold for an hour
)

// GuardConfig says what a Guard keeps.
type GuardConfig struct {
	Isolation bool           // the filter between containers on the overlay
	Egress    bool           // the rules for what containers reach beside it; false takes those away that are there
	ExecRoot  string         // the engine's
	HostNetNS string         // file of the node's network namespace
	Instance  string         //
	Allow     []netip.Prefix // what containers may reach although it is refused
	Store     string         // URL of the workspaces' store, which they reach, too; empty or "none" is none
}

// Guard keeps this node's protections. It needs the engine alone: they stand
// before there is a Redis, to which perhaps only an exempt address gets
// through.
type Guard struct {
	cfg    GuardConfig
	engine *swarm.Client
	log    *slog.Logger
	egress *swarm.Egress

	refuses atomic.Bool // egress stands, or is off

	mu     sync.Mutex // of what follows: the overlay's filter
	filter *swarm.Filter
	edges  []netip.Addr // as last told; nil while nobody has

	admitted bool // this process passes the filter

	rules   swarm.EgressRules // of the loop that keeps egress
	applied time.Time
	stores  []netip.AddrPort
	found   time.Time // when the store's name was looked up
}

// NewGuard returns a Guard.
func NewGuard(engine *swarm.Client, cfg GuardConfig, log *slog.Logger) *Guard {
	g := &Guard{cfg: cfg, engine: engine, log: log, egress: swarm.NewEgress(cfg.HostNetNS, cfg.Instance)}
	g.refuses.Store(!cfg.Egress || g.stands())
	return g
}

// Run keeps the protections until ctx ends. They stay when it returns.
func (g *Guard) Run(ctx context.Context) {
	var all sync.WaitGroup
	if g.cfg.Isolation {
		all.Go(func() { every(ctx, g.log, filterLook, "close overlay", g.close) })
	}
	if g.cfg.Egress {
		all.Go(func() { every(ctx, g.log, egressLook, "keep egress rules", g.follow) })
	} else if err := g.egress.Remove(); err != nil && !errors.Is(err, swarm.ErrNotTheNode) {
		g.log.Warn("egress rules are not removed", "err", err)
	}
	all.Wait()
}

// Refuses says whether containers on this node are kept from private
// addresses, as far as that is wanted.
func (g *Guard) Refuses() bool { return g.refuses.Load() }

// close puts a filter where the overlay has none, with no edge but this process
// until the others are told: who had an address before may have lost it with
// the overlay's old namespace.
func (g *Guard) close(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	standing, err := g.standing(ctx)
	if errors.Is(err, swarm.ErrNoNamespace) || standing && g.admitted {
		return nil // no task, nobody to isolate
	}
	if err != nil {
		return err
	}
	own, err := ownAddresses()
	if err != nil {
		return err
	}
	g.admitted = true
	if standing { // of a worker before
		return g.filter.Admit(own)
	}
	g.edges = nil
	return g.apply(own)
}

// ownAddresses are this process's. Of those only the one on the overlay counts
// there: it may be on the way to a Redis beyond it, which knows the edges.
func ownAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var own []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			own = append(own, p.Addr())
		}
	}
	return own, nil
}

// Isolate tells who the edges are, and sees that the filter stands.
func (g *Guard) Isolate(ctx context.Context, edges []netip.Addr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	standing, err := g.standing(ctx)
	if err != nil || standing && g.edges != nil && slices.Equal(edges, g.edges) {
		return err
	}
	if err := g.apply(edges); err != nil {
		return err
	}
	g.edges = slices.Concat([]netip.Addr{}, edges)
	return nil
}

// Closed says whether containers are kept apart here, as far as that is wanted.
// Edges need not be known yet.
func (g *Guard) Closed(ctx context.Context) (bool, error) {
	if !g.cfg.Isolation {
		return true, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.standing(ctx)
}

// Isolated says whether the filter stands, with edges that are known.
func (g *Guard) Isolated(ctx context.Context) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	standing, err := g.standing(ctx)
	return standing && err == nil && g.edges != nil
}

func (g *Guard) apply(edges []netip.Addr) error {
	if err := g.filter.Apply(edges); err != nil {
		return fmt.Errorf("program filter: %w", err)
	}
	g.log.Info("isolation filter stands", "edges", len(edges))
	return nil
}

func (g *Guard) standing(ctx context.Context) (bool, error) {
	if g.filter == nil {
		id, err := g.engine.NetworkID(ctx)
		if err != nil {
			return false, fmt.Errorf("find network: %w", err)
		}
		g.filter = swarm.NewFilter(g.cfg.ExecRoot, id)
	}
	standing, err := g.filter.Standing()
	if err != nil {
		g.filter = nil // the network may have been made anew
		return false, fmt.Errorf("look at filter: %w", err)
	}
	return standing, nil
}

// follow keeps the egress rules now, and at once after each container that
// starts or ends, until ctx ends or something fails.
func (g *Guard) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	comings := g.engine.Comings(ctx)
	look := time.NewTicker(egressLook)
	defer look.Stop()
	for {
		if err := g.refuse(ctx); err != nil {
			g.refuses.Store(g.stands())
			return err
		}
		g.refuses.Store(true)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-comings:
			if !ok {
				return errors.New("the engine tells no more of containers")
			}
		case <-look.C:
		}
	}
}

// stands: rules that cannot be brought up to date exempt too few at worst, for
// an address is taken by somebody else only while the engine runs.
func (g *Guard) stands() bool {
	standing, err := g.egress.Standing()
	return standing && err == nil
}

// refuse programs the egress rules where they are not as they should be.
func (g *Guard) refuse(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r := swarm.EgressRules{Allowed: g.cfg.Allow}
	if r.Exempt, err = g.engine.Exempt(ctx); err != nil {
		return err
	}
	if r.Nodes, err = g.engine.NodeAddresses(ctx); err != nil {
		return err
	}
	if time.Since(g.found) > time.Minute {
		stores, err := storeAddresses(ctx, g.cfg.Store)
		g.found = time.Now()
		if err == nil {
			g.stores = stores
		} else {
			g.log.Warn("the store's name is not found", "err", err)
			g.found = g.found.Add(-50 * time.Second)
		}
	}
	for _, s := range g.stores { // those at public addresses come and go, and are not refused
		if slices.Contains(r.Nodes, s.Addr()) || slices.ContainsFunc(swarm.Refused(), func(p netip.Prefix) bool { return p.Contains(s.Addr()) }) {
			r.Stores = append(r.Stores, s)
		}
	}
	standing, err := g.egress.Standing()
	if err != nil {
		return fmt.Errorf("look at egress rules: %w", err)
	}
	if standing && r.Equal(g.rules) && time.Since(g.applied) < egressRenew {
		return nil
	}
	if err := g.egress.Apply(r); err != nil {
		return fmt.Errorf("program egress rules: %w", err)
	}
	if !standing {
		g.log.Info("egress rules stand", "exempt", len(r.Exempt), "nodes", len(r.Nodes))
	}
	g.rules, g.applied = r, time.Now()
	return nil
}

// storeAddresses are where the store of a URL listens.
func storeAddresses(ctx context.Context, store string) ([]netip.AddrPort, error) {
	if store == "" || store == "none" {
		return nil, nil
	}
	u, err := url.Parse(store)
	if err != nil {
		return nil, err
	}
	port := uint16(443)
	if u.Scheme == "http" {
		port = 80
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return nil, err
		}
		port = uint16(n)
	}
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, a := range list {
		out = append(out, netip.AddrPortFrom(a.Unmap(), port))
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return slices.Compact(out), nil
}
