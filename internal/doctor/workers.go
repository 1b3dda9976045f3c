package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"
)

// silent is how long a worker may say nothing: it reports every 5 s.
const silent = 15 * time.Second

func (e *examination) lookWorkers(context.Context) []Finding {
	if e.store == nil {
		return skip("Redis does not answer.")
	}
	var found []Finding
	live := e.live()
	if !slices.ContainsFunc(live, func(w ide.Worker) bool { return w.Manager && w.Engine }) {
		found = append(found, fail("Run berth worker (or berth up) on a manager, with the engine's socket; see its log.", "No worker on a manager has reported in the last %v: no job is done.", silent)...)
	}
	versions := map[string]bool{}
	for _, w := range live {
		versions[w.Version] = true
		if !w.Engine {
			found = append(found, fail("See that dockerd runs there and that its socket is mounted into the worker.", "The worker on %s does not reach its engine.", e.hostname(w.Node))...)
		}
	}
	for _, n := range e.nodes {
		if n.State == "ready" && n.Availability == "active" && !slices.ContainsFunc(live, func(w ide.Worker) bool { return w.Node == n.ID }) {
			found = append(found, fail("Run a worker there: the stack's is global; see docker service ps berth_worker.", "Node %s has no worker: it gets no containers, and its volumes and logs are not seen to.", n.Hostname)...)
		}
	}
	if len(versions) > 1 {
		found = append(found, warn("Finish the update: all processes should be of one version.", "Workers are of %d versions.", len(versions))...)
	}
	if len(found) == 0 {
		return ok("%d report.", len(live))
	}
	return found
}

// live are the workers that reported lately.
func (e *examination) live() []ide.Worker {
	return slices.DeleteFunc(slices.Clone(e.workers), func(w ide.Worker) bool { return e.now.Sub(w.At) > silent })
}

func (e *examination) lookIsolation(context.Context) []Finding {
	switch {
	case !e.cfg.Isolation:
		return warn("Set ISOLATION=on, unless all containers are one person's.", "ISOLATION is off: containers reach each other.")
	case e.store == nil:
		return skip("Redis does not answer.")
	}
	var open []string
	for _, w := range e.live() {
		if !w.Filtered {
			open = append(open, e.hostname(w.Node))
		}
	}
	if len(open) > 0 {
		return fail("The worker needs NET_ADMIN and SYS_ADMIN, ENGINE_EXEC_ROOT with the engine's netns folder, a place on the containers' network, and a kernel with nf_tables for bridges (modprobe nft_meta_bridge); its log says which.",
			"The isolation filter does not stand on %s: no container is put there.", strings.Join(open, ", "))
	}
	if len(e.live()) == 0 {
		return skip("No worker tells.")
	}
	return ok("The filter stands on every node with a worker.")
}

func (e *examination) lookEgress(context.Context) []Finding {
	switch {
	case !e.cfg.Egress:
		return warn("Set EGRESS=refuse-private, unless all containers are one person's.", "EGRESS is off: containers reach private networks, and in a cloud the credentials of their machine.")
	case e.store == nil:
		return skip("Redis does not answer.")
	}
	var open []string
	for _, w := range e.live() {
		if !w.Egress {
			open = append(open, e.hostname(w.Node))
		}
	}
	if len(open) > 0 {
		return fail("The worker needs NET_ADMIN and SYS_ADMIN, and HOST_NETNS with the node's network namespace: mount /proc/1/ns/net as stack.yaml does. Its log says what is missing.",
			"The egress rules do not stand on %s: no container is put there.", strings.Join(open, ", "))
	}
	if len(e.live()) == 0 {
		return skip("No worker tells.")
	}
	return ok("The rules stand on every node with a worker.")
}

func (e *examination) lookImages(context.Context) []Finding {
	live := e.live()
	if len(live) == 0 {
		return skip("No worker tells.")
	}
	var found []Finding
	for i, image := range e.cfg.Images {
		var on []string
		for _, w := range live {
			if slices.Contains(w.Missing, image) {
				on = append(on, e.hostname(w.Node))
			}
		}
		slices.Sort(on)
		where := strings.Join(slices.Compact(on), ", ")
		switch {
		case where == "":
		case strings.HasPrefix(image, "localhost/") && i == 0:
			found = append(found, fail("Build it there (make ide-image), or carry it: docker save "+image+" | ssh NODE docker load.", "The image %s is not on %s, and no registry has it.", image, where)...)
		case strings.HasPrefix(image, "localhost/"):
			found = append(found, warn("Build it (TEMPLATES=… make ide-image) and carry it to each node, or take its template out (TEMPLATES).", "The image %s is not on %s, and no registry has it.", image, where)...)
		default:
			found = append(found, warn("docker pull "+image+" there: otherwise the first start waits until it is pulled.", "The image %s is not on %s.", image, where)...)
		}
	}
	if len(found) == 0 {
		return ok("%d image(s) of templates, on every node with a worker.", len(e.cfg.Images))
	}
	return found
}

// skew is how far clocks may be apart: leases are of 10 s, and S3 refuses
// requests that are 15 minutes off.
const skew = 2 * time.Second

func (e *examination) lookClocks(context.Context) []Finding {
	const sync = "Let every machine set its clock: timedatectl set-ntp true."
	var off []string
	told := 0
	// An answer may be slow: a clock is off by least or most, or anything between.
	apart := func(who string, least, most time.Duration) {
		told++
		if d := cmp.Or(max(least, 0), min(most, 0)).Round(time.Second / 10); d.Abs() > skew {
			off = append(off, fmt.Sprintf("%s by %v", who, d))
		}
	}
	if e.store != nil { // e.now is Redis's
		apart("this machine", e.asked.from.Sub(e.now), e.asked.to.Sub(e.now))
	}
	if at := e.survey.Clock; !at.IsZero() {
		apart("this node's engine", at.Sub(e.now)-e.surveyed.to.Sub(e.asked.from), at.Sub(e.now)-e.surveyed.from.Sub(e.asked.to))
	}
	for _, w := range e.live() { // one that is behind looks like one that is silent
		ahead := w.At.Sub(e.now)
		apart("node "+e.hostname(w.Node), ahead-e.workersRead, max(ahead, 0))
	}
	switch {
	case len(off) > 0:
		return fail(sync, "These clocks are off: %s.", strings.Join(off, ", "))
	case told == 0:
		return skip("There is nothing to compare with.")
	}
	return ok("%d clocks are within %v.", told, skew)
}
