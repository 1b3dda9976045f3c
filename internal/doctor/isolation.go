package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/internal/swarm"
)

// isolationTime bounds the whole test: two containers are started, one after
// the other.
const isolationTime = 90 * time.Second

// Isolated is what the test of the isolation needs to know.
type Isolated struct {
	Swarm    *swarm.Client
	Store    *store.Store // nil: other containers are not tried
	Template ide.Template // the image has to have Berth's agent
	RedisURL string
	Listen   string // address of API and gateway
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
}

// group is what one finding is about: targets that must not be reached.
type group struct {
	check   string
	targets []string
	do      string
	none    string // why there is no target
}

// nodePorts are what listens on a node and is nobody's business in a container:
// a login, the engine, Swarm's managers and its gossip.
var nodePorts = []string{"22", "2375", "2376", "2377", "7946"}

// Isolation starts two containers that are confined as all are, looks out from
// one of them, and removes them, whatever happens. It changes nothing else.
func Isolation(ctx context.Context, cfg Isolated) []Finding {
	ctx, cancel := context.WithTimeout(ctx, isolationTime)
	defer cancel()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTime)
		defer cancel()
		cfg.Swarm.RemoveLookouts(end) // what is still there goes with the next run, and ends by itself before
	}()
	found, err := isolation(ctx, cfg)
	if err != nil {
		return append(found, Finding{Check: "containers", Status: Fail, Found: ide.AsError(err).Message,
			Do: "Run this on a manager, with the image on its node: the test starts two containers of " + cfg.Template.Image + "."})
	}
	return found
}

func isolation(ctx context.Context, cfg Isolated) ([]Finding, error) {
	if err := cfg.Swarm.RemoveLookouts(ctx); err != nil {
		return nil, err
	}
	nodes, err := cfg.Swarm.UsualNodes(ctx)
	if err != nil {
		return nil, err
	}
	// The neighbour is on another node, where there is one, and on the same one.
	var neighbours []swarm.Lookout
	for _, node := range slices.Compact([]string{nodes[0], nodes[len(nodes)-1]}) {
		l, err := cfg.Swarm.StartLookout(ctx, cfg.Template.Image, node, cfg.Template.Hardening, []string{ide.LookListen}, false)
		if err != nil {
			return nil, err
		}
		neighbours = append(neighbours, l)
	}
	groups, err := targets(ctx, cfg, neighbours)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, g := range groups {
		all = append(all, g.targets...)
	}
	l, err := cfg.Swarm.StartLookout(ctx, cfg.Template.Image, nodes[0], cfg.Template.Hardening, all, true)
	if err != nil {
		return nil, err
	}
	lines, err := cfg.Swarm.Words(ctx, l)
	if err != nil {
		return nil, err
	}
	looks, confined, err := readLooks(lines)
	if err != nil {
		return nil, err
	}
	found := []Finding{heard(ctx, cfg, neighbours)}
	for _, g := range groups {
		found = append(found, g.judge(looks))
	}
	return append(found, judgeConfinement(confined, cfg.Template.Hardening)...), nil
}

// heard says whether the neighbours answer somebody: otherwise that they do not
// answer a container says nothing.
func heard(ctx context.Context, cfg Isolated, neighbours []swarm.Lookout) Finding {
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 3 * time.Second}).DialContext
	}
	for _, n := range neighbours {
		conn, err := dial(ctx, "tcp", at(n.Address, portAgent))
		if err != nil {
			return Finding{Check: "edge to containers", Status: Warn, Found: "From here the test's own containers do not answer.",
				Do: "Run this inside a worker, whose service is labelled berth.edge=true: only from there it can be told apart that a container is shut off from that it listens nowhere."}
		}
		conn.Close()
	}
	return Finding{Check: "edge to containers", Status: OK, Found: fmt.Sprintf("%d container(s) of the test answer here.", len(neighbours))}
}

func at(a netip.Addr, port int) string { return net.JoinHostPort(a.String(), strconv.Itoa(port)) }

func targets(ctx context.Context, cfg Isolated, neighbours []swarm.Lookout) ([]group, error) {
	const filter = "See berth doctor, isolation: the filter has to stand on every node (ISOLATION=on); the worker's log says why it does not."
	const egress = "See berth doctor, egress: the rules have to stand on every node (EGRESS=refuse-private, HOST_NETNS mounted), and EGRESS_ALLOW must not let this through."
	byName, byAddress, byUplink := group{check: "neighbour by name", do: filter}, group{check: "neighbour by address", do: filter},
		group{check: "neighbour by uplink", do: egress, none: "no neighbour is on this node"}
	for _, n := range neighbours {
		byName.targets = append(byName.targets, net.JoinHostPort(n.Name, strconv.Itoa(portAgent)))
		byAddress.targets = append(byAddress.targets, at(n.Address, portAgent))
		if n.Uplink.IsValid() {
			byUplink.targets = append(byUplink.targets, at(n.Uplink, portAgent))
		}
	}
	agents := group{check: "agents of others", do: filter, none: "no other container runs"}
	if cfg.Store != nil {
		running, err := cfg.Store.ByStatus(ctx, ide.Running)
		if err != nil {
			return nil, err
		}
		for _, c := range running[:min(len(running), 5)] {
			if c.Address != "" {
				agents.targets = append(agents.targets, net.JoinHostPort(c.Address, strconv.Itoa(portAgent)))
			}
		}
	}
	edges, err := cfg.Swarm.Edges(ctx)
	if err != nil {
		return nil, err
	}
	internals := group{check: "API and gateway", do: filter, none: "there is no edge"}
	redis := group{check: "Redis", do: filter, none: "it is where no container can look"}
	_, listen, _ := net.SplitHostPort(cfg.Listen)
	for _, e := range edges[:min(len(edges), 10)] {
		internals.targets = append(internals.targets, net.JoinHostPort(e.String(), cmp.Or(listen, "8080")))
		redis.targets = append(redis.targets, at(e, 6379))
	}
	redis.targets = append(redis.targets, redisTargets(ctx, cfg.RedisURL)...)
	addresses, err := cfg.Swarm.NodeAddresses(ctx)
	if err != nil {
		return nil, err
	}
	nodes := group{check: "ports of nodes", do: egress}
	for _, p := range nodePorts {
		nodes.targets = append(nodes.targets, net.JoinHostPort("uplink", p))
		for _, a := range addresses[:min(len(addresses), 10)] {
			nodes.targets = append(nodes.targets, net.JoinHostPort(a.String(), p))
		}
	}
	return []group{
		byName, byAddress, byUplink, agents, internals, redis,
		{check: "engine's socket", targets: []string{"/var/run/docker.sock", "/run/docker.sock", "/run/engine/netns", "/host/proc"}, do: "Nothing of the host's may be mounted into a container: see the image, and docker inspect."},
		nodes,
		{check: "metadata", targets: []string{"169.254.169.254:80", "169.254.170.2:80", "[fd00:ec2::254]:80", "168.63.129.16:80", "192.0.0.192:80"}, do: egress},
	}, nil
}

// redisTargets are the addresses behind REDIS_URL that are not this machine's
// alone, and its name.
func redisTargets(ctx context.Context, text string) (list []string) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return nil
	}
	port := cmp.Or(u.Port(), "6379")
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	for _, a := range addresses {
		if a = a.Unmap(); err == nil && !a.IsLoopback() {
			list = append(list, net.JoinHostPort(a.String(), port))
		}
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil && u.Hostname() != "localhost" {
		list = append(list, net.JoinHostPort(u.Hostname(), port))
	}
	return list
}

func readLooks(lines []string) (looks map[string]bool, c ide.Confinement, err error) {
	looks = map[string]bool{}
	told := false
	for _, line := range lines {
		var l ide.Look
		switch {
		case json.Unmarshal([]byte(line), &l) == nil && l.Target != "":
			looks[l.Target] = l.Reached
		case strings.Contains(line, `"noNewPrivileges"`):
			told = json.Unmarshal([]byte(line), &c) == nil
		}
	}
	if !told {
		return nil, c, ide.Errorf(ide.ContainerStartFailed, "The image's agent does not know how to look out: it is older than this berth.")
	}
	return looks, c, nil
}

func (g group) judge(looks map[string]bool) Finding {
	f := Finding{Check: g.check, Status: OK}
	var open []string
	tried := 0
	for _, t := range g.targets {
		reached, ok := looks[t]
		if !ok {
			continue
		}
		tried++
		if reached {
			open = append(open, t)
		}
	}
	switch {
	case tried == 0:
		f.Status, f.Found = Skip, "Not tried: "+cmp.Or(g.none, "there is nothing to try")+"."
	case len(open) > 0:
		f.Status, f.Do = Fail, g.do
		f.Found = fmt.Sprintf("A container reaches %s.", strings.Join(open, ", "))
	default:
		f.Found = fmt.Sprintf("None of %d is reached.", tried)
	}
	return f
}

// judgeConfinement says what a container may that it should not.
func judgeConfinement(c ide.Confinement, h ide.Hardening) []Finding {
	one := func(check string, good bool, found, do string) Finding {
		if good {
			return Finding{Check: check, Status: OK, Found: found}
		}
		return Finding{Check: check, Status: Fail, Found: found, Do: do}
	}
	limited := func(s string) bool { return s != "" && s != "max" && len(s) < 16 } // cgroup v1 says "none" with a number near 2^63
	list := []Finding{
		one("user", c.UID != 0, fmt.Sprintf("It runs as user %d.", c.UID), "The image has to run as another user than root."),
		one("capabilities", c.Capabilities == "0" || len(h.Capabilities) > 0, "Capabilities: "+c.Capabilities+" (0 is none).", "The service has to drop all capabilities: docker service inspect."),
		one("seccomp", c.Seccomp == 2, fmt.Sprintf("Seccomp mode %d (2 is a filter).", c.Seccomp), "Use an engine with its default seccomp profile."),
		one("limits", limited(c.PIDs) && limited(c.Memory), fmt.Sprintf("Limits: %s processes, %s bytes.", c.PIDs, c.Memory), "The kernel has to have the pids and memory controllers."),
		one("mounts", len(c.Mounts) == 0, fmt.Sprintf("Mounts of the host's: %d. %s", len(c.Mounts), strings.Join(c.Mounts, " ")), "Nothing of the host's may be mounted."),
		one("root", !c.Writable || !h.ReadOnly, fmt.Sprintf("The image can be written: %t.", c.Writable), "The template says readOnly; see docker service inspect."),
	}
	nnp := one("new privileges", c.NoNew, fmt.Sprintf("No new privileges: %t.", c.NoNew), `Put "no-new-privileges": true into /etc/docker/daemon.json of every node: a service can say so itself from Engine 25 on.`)
	if nnp.Status == Fail {
		nnp.Status = Warn // without capabilities and as nobody there is little to gain by
	}
	return append(list, nnp)
}
