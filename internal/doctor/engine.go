package doctor

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"berth/internal/ide"
)

// The oldest engine that Berth is tested with: 20.10, API 1.41. From API 1.44
// on a service itself can forbid new privileges.
const (
	leastAPI      = 41
	privilegesAPI = 44
)

// minor of an API version: 41 of "1.41".
func minor(api string) int {
	_, m, _ := strings.Cut(api, ".")
	n, _ := strconv.Atoi(m) // what is no number is older than all
	return n
}

func (e *examination) lookEngine(context.Context) []Finding {
	s := e.survey
	switch {
	case s.API == "" && e.engine != nil:
		return fail("See that dockerd runs and that its socket is mounted here (DOCKER_HOST says where it is looked for): systemctl status docker.",
			"%s", ide.AsError(e.engine).Message)
	case minor(s.API) < leastAPI:
		return fail("Install Docker Engine 20.10 or later.", "Engine %s speaks API %s; 1.%d is needed.", s.Engine, s.API, leastAPI)
	case s.Storage != "overlay2" && s.Storage != "overlayfs":
		return warn(`Put "storage-driver": "overlay2" into /etc/docker/daemon.json before there are containers; others are slower, and vfs copies an image for each container.`,
			"Engine %s (API %s) keeps images with %s.", s.Engine, s.API, s.Storage)
	}
	return ok("Engine %s, API %s, %s.", s.Engine, s.API, s.Storage)
}

func (e *examination) lookHardening(context.Context) []Finding {
	s := e.survey
	if s.API == "" {
		return skip("The engine does not answer.")
	}
	var found []Finding
	if !slices.Contains(s.Security, "seccomp") {
		found = append(found, fail("Use a kernel and an engine with seccomp, and no --security-opt seccomp=unconfined in the engine's settings.",
			"Containers run without a seccomp filter.")...)
	}
	// Engine 20.10 does not tell (seen); then it shows in this process, if it is in a container.
	if !slices.Contains(s.Security, "no-new-privileges") && minor(s.API) < privilegesAPI && !e.noNewPrivileges() {
		found = append(found, warn(`Put "no-new-privileges": true into /etc/docker/daemon.json and restart the engine; then run this inside a worker.`,
			"Nothing says that programs in containers cannot gain privileges (setuid): API %s cannot forbid it for one service, and the engine does not for all, or does not tell.", s.API)...)
	}
	if len(found) == 0 {
		return ok("Containers run with seccomp and cannot gain privileges.")
	}
	return found
}

// noNewPrivileges says whether this process cannot gain privileges (proc(5),
// NoNewPrivs).
func (e *examination) noNewPrivileges() bool {
	text, err := os.ReadFile(e.cfg.Self)
	return err == nil && strings.Contains(string(text), "\nNoNewPrivs:\t1\n")
}

func (e *examination) lookSwarm(context.Context) []Finding {
	s := e.survey
	switch {
	case s.API == "":
		return skip("The engine does not answer.")
	case s.Locked:
		return fail("docker swarm unlock", "The Swarm is locked.")
	case !s.SwarmActive:
		return fail("docker swarm init --advertise-addr ADDRESS, or docker swarm join with a token of a manager.", "The engine is in no Swarm.")
	case !s.Manager:
		return skip("This node is a worker; run berth doctor on a manager to see more.")
	case e.engine != nil:
		return fail("See docker node ls: more than half of the managers have to be reachable.", "%s", ide.AsError(e.engine).Message)
	}
	managers, up := 0, 0
	for _, n := range e.nodes {
		if n.Role == "manager" {
			managers++
			if n.State == "ready" {
				up++
			}
		}
	}
	switch {
	case up*2 <= managers:
		return fail("Bring managers back before another one goes: without more than half of them nothing can be started.", "%d of %d managers are ready.", up, managers)
	case managers%2 == 0:
		return warn("Have 1, 3 or 5 managers: docker node promote NODE, or demote one.",
			"There are %d managers: as many may be lost as with %d.", managers, managers-1)
	}
	return ok("%d manager(s), %d node(s).", managers, len(e.nodes))
}

func (e *examination) lookNodes(context.Context) []Finding {
	if len(e.nodes) == 0 {
		return skip("No manager tells of nodes.")
	}
	var found []Finding
	usable := 0
	for _, n := range e.nodes {
		switch {
		case n.State != "ready":
			found = append(found, warn("See that the machine and its engine run, or take it out: docker node rm --force "+n.Hostname+".", "Node %s is %s.", n.Hostname, n.State)...)
		case n.Availability != "active":
			found = append(found, warn("docker node update --availability active "+n.Hostname+", when it may take containers again.", "Node %s is set to %s.", n.Hostname, n.Availability)...)
		default:
			usable++
		}
	}
	if usable == 0 {
		found = append(found, fail("Make at least one node ready and active.", "No node can take containers.")...)
	}
	if len(found) == 0 {
		return ok("%d of %d are ready and active.", usable, len(e.nodes))
	}
	return found
}

// few is how many subnets or addresses are too few to go on with.
const few = 8

func (e *examination) lookPools(context.Context) []Finding {
	s := e.survey
	if !s.Manager || e.engine != nil {
		return skip("Only a manager tells.")
	}
	const renew = "The pool is fixed when a Swarm is made: docker swarm init --default-addr-pool … --default-addr-pool-mask-length …; until then remove overlays that nobody uses, or give new ones a --subnet."
	total, taken := 0, 0
	for _, p := range s.Pools {
		total += 1 << max(0, s.PoolBits-p.Bits())
		for _, t := range s.Taken {
			if p.Overlaps(t) {
				taken += 1 << max(0, s.PoolBits-max(p.Bits(), t.Bits()))
			}
		}
		for _, n := range e.nodes {
			if a, err := netip.ParseAddr(n.Address); err == nil && p.Contains(a) {
				return warn("Choose a pool in which no machine is: an overlay may get the subnet of your nodes, which then cannot be reached. "+renew,
					"Node %s has the address %s, which is in the pool for overlays, %s.", n.Hostname, n.Address, p)
			}
		}
	}
	switch left := total - taken; {
	case left <= 0:
		return fail(renew, "All %d subnets (/%d) of the pool are taken: no further overlay can be made.", total, s.PoolBits)
	case left <= few:
		return warn(renew, "%d of %d subnets (/%d) of the pool are left.", left, total, s.PoolBits)
	default:
		return ok("%d of %d subnets (/%d) of the pool are left.", left, total, s.PoolBits)
	}
}

func (e *examination) lookAddresses(context.Context) []Finding {
	s := e.survey
	if !s.Manager || e.engine != nil {
		return skip("Only a manager tells.")
	}
	const again = "Stop all containers, remove the network and make it anew: docker network create --driver overlay --attachable --subnet 10.86.0.0/16 ide-network."
	n := s.Network
	switch {
	case n == nil:
		return warn("A worker on a manager makes it when it starts: see that one runs.", "The containers' network is not there yet.")
	case n.Driver != "overlay" || !n.Attachable:
		return fail(again, "The containers' network is no attachable overlay.")
	case !n.Subnet.IsValid():
		return warn("Look at it with docker network inspect.", "The containers' network shows no subnet.")
	}
	for _, node := range e.nodes {
		if a, err := netip.ParseAddr(node.Address); err == nil && n.Subnet.Contains(a) {
			return fail(again, "Node %s has the address %s, which is in the containers' network %s.", node.Hostname, node.Address, n.Subnet)
		}
	}
	left := n.Size - n.Used
	switch {
	case left <= 0:
		return fail(again, "All %d addresses of the containers' network %s are taken: further containers wait without a word.", n.Size, n.Subnet)
	case left <= few || left*10 < n.Size:
		return warn(again, "%d of %d addresses of the containers' network %s are left.", left, n.Size, n.Subnet)
	}
	note := ""
	if n.Encrypted {
		note = ", encrypted"
	}
	return ok("%d of %d addresses of %s are left%s.", left, n.Size, n.Subnet, note)
}
