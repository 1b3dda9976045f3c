package ide

import "time"

// Where a use of a container shows. An agent says which of its three ports it
// was on; a gateway knows of no more than traffic.
const (
	UseStart   = "start"   // it came up, or it was first looked at
	UseEditor  = "editor"  // somebody has typed or clicked in VS Code
	UseDesktop = "desktop" // keyboard or mouse on the desktop
	UseWeb     = "web"     // bytes on the web port
	UseCPU     = "cpu"     // it has worked harder than its activity.cpu
	UseTraffic = "traffic" // bytes on any port, of an image without an agent
)

// Who has seen a use.
const (
	SignalRecord  = "record"
	SignalAgent   = "agent"
	SignalGateway = "gateway"
)

// Use is a sign that somebody needs a container. The control plane's own
// probes and pages, an open tab and code-server's heartbeat are none.
type Use struct {
	At     time.Time `json:"at"`
	Source string    `json:"source" enum:"start,editor,desktop,web,cpu,traffic" doc:"What was used"`
	Signal string    `json:"signal,omitempty" enum:"record,agent,gateway" doc:"Who has seen it"`
}

// Watch is what is known of the use of a container's present run. It is in no
// Swarm config: what is older than a lost Redis says nothing of now.
type Watch struct {
	Used       *Use       `json:"used,omitempty"`
	CPUSeconds float64    `json:"cpuSeconds,omitempty"` // used until CPUAt, as its agent said
	CPUAt      *time.Time `json:"cpuAt,omitempty"`
	KeepUntil  *time.Time `json:"keepUntil,omitempty"` // no stop for idleness before
	StopsAt    *time.Time `json:"stopsAt,omitempty"`   // as its users were warned
	Unknown    bool       `json:"unknown,omitempty"`   // it was to be warned or stopped, and its agent did not answer
	Decided    bool       `json:"decided,omitempty"`   // a stop follows, whatever happens now
}

// leastCPUWindow is the shortest time over which a load says something.
const leastCPUWindow = 5 * time.Second

// See notes a use, unless a later one is known.
func (w *Watch) See(u Use) {
	if !u.At.IsZero() && (w.Used == nil || u.At.After(w.Used.At)) {
		w.Used = &u
	}
}

// SeeCPU notes how many seconds of CPU a container has used by now, and that it
// is in use if it has worked at least as hard as threshold, in cores, since the
// time before.
func (w *Watch) SeeCPU(seconds, threshold float64, now time.Time) {
	if threshold <= 0 || seconds <= 0 {
		return
	}
	if w.CPUAt != nil && seconds >= w.CPUSeconds {
		window := now.Sub(*w.CPUAt)
		if window < leastCPUWindow {
			return
		}
		if (seconds-w.CPUSeconds)/window.Seconds() >= threshold {
			w.See(Use{At: now, Source: UseCPU, Signal: SignalAgent})
		}
	}
	w.CPUSeconds, w.CPUAt = seconds, &now
}

// LastUse is the last use of a container: what its agent said, or what the
// edges have seen. It is zero when nothing is known.
func (c Container) LastUse(seen Activity) Use {
	w := Watch{Used: c.Watch.Used}
	if c.NoAgent {
		w.See(Use{At: seen.LastActivity, Source: UseTraffic, Signal: SignalGateway})
	} else {
		w.See(Use{At: seen.Web, Source: UseWeb, Signal: SignalGateway})
	}
	if w.Used == nil {
		return Use{}
	}
	return *w.Used
}

// Deadline is when a container is to stop if it is not used until then.
type Deadline struct {
	At     time.Time
	Reason ShutdownReason // Inactivity, or ResourceLimit at the end of its lifetime
	Use    Use            // the last
}

// Deadline returns when a running container is to stop; ok is false for one
// that may run for ever, and while no use is known to count from. longest is the
// longest life of a run, 0 is any.
func (c Container) Deadline(seen Activity, longest time.Duration) (d Deadline, ok bool) {
	d.Use = c.LastUse(seen)
	if c.IdleTimeout > 0 && !d.Use.At.IsZero() {
		d.At, d.Reason, ok = d.Use.At.Add(time.Duration(c.IdleTimeout)*time.Second), Inactivity, true
		if k := c.Watch.KeepUntil; k != nil && k.After(d.At) {
			d.At = *k
		}
	}
	if longest > 0 && c.StartedAt != nil {
		if end := c.StartedAt.Add(longest); !ok || end.Before(d.At) {
			d.At, d.Reason, ok = end, ResourceLimit, true
		}
	}
	return d, ok
}

// IdleStep is what follows from a deadline.
type IdleStep string

// The steps.
const (
	IdleNothing  IdleStep = ""
	IdleWarn     IdleStep = "warn"
	IdlePostpone IdleStep = "postpone" // it was used, or kept alive, after the warning
	IdleStop     IdleStep = "stop"
)

// Next says what is to be done now for a deadline, with a warning so long
// before it. A stop always comes after a warning, and the whole time of the
// warning after it, also when nobody could look for a while.
func (w Watch) Next(d Deadline, ok bool, warning time.Duration, now time.Time) IdleStep {
	switch {
	case w.StopsAt == nil && ok && !now.Before(d.At.Add(-warning)):
		return IdleWarn
	case w.StopsAt == nil:
		return IdleNothing
	case w.Decided:
		return IdleStop
	case !ok || d.At.After(*w.StopsAt):
		return IdlePostpone
	case !now.Before(*w.StopsAt):
		return IdleStop
	}
	return IdleNothing
}

// Receipt is why a container was warned, spared or stopped.
type Receipt struct {
	Reason       ShutdownReason `json:"reason" enum:"inactivity,resource_limit" doc:"inactivity, or resource_limit at the end of its lifetime"`
	LastActivity time.Time      `json:"lastActivity,omitzero" doc:"When it was last used"`
	Source       string         `json:"source,omitempty" enum:"start,editor,desktop,web,cpu,traffic" doc:"What was used then"`
	Signal       string         `json:"signal,omitempty" enum:"record,agent,gateway" doc:"Who has seen it"`
	StopsAt      *time.Time     `json:"stopsAt,omitempty" doc:"When it stops unless it is used or kept alive"`
}
