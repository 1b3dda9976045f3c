package functions

import (
	"context"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// ProbeContainerArgs is the job of a probe.
type ProbeContainerArgs struct {
	Request
	ID  string `json:"id" path:"id" maxLength:"64" doc:"Container"`
	Run int    `json:"run"`
}

// unhealthyAfter is how many probes in a row must fail before a container is
// called unhealthy: one slow answer is no illness.
const unhealthyAfter = 3

// ProbeContainer looks at a container's three ports through the edge, the way
// users do.
var ProbeContainer = define(Function[ProbeContainerArgs]{
	Name: "container-probe", Doc: "Probe a running container now", Route: "POST /api/containers/{id}/probe",
	Queue: queue.Low, Attempts: 3, Timeout: 30 * time.Second, Cancelable: true,
	Expect: []ide.Status{ide.Running},
	Admit: func(ctx context.Context, d *Deps, p ide.Principal, a *ProbeContainerArgs) (store.Admission, error) {
		c, err := own(ctx, d, p, a.ID)
		if err != nil {
			return store.Admission{}, err
		}
		if c.Status != ide.Running {
			return store.Admission{}, state(c, "Only a running container can be probed.")
		}
		a.Run = c.Run
		return store.Admission{Container: a.ID}, nil
	},
	Run: func(ctx context.Context, d *Deps, a ProbeContainerArgs) error {
		c, err := d.Store.Container(ctx, a.ID)
		if err != nil {
			return err
		}
		var checks ide.Checks
		if err := Step(ctx, "ports", func(ctx context.Context) error {
			checks.CodeServer, _ = d.probe(ctx, c, ide.PortCode)
			checks.VNC, _ = d.probe(ctx, c, ide.PortVNC)
			checks.WebServer, _ = d.probe(ctx, c, ide.PortWeb)
			return nil
		}); err != nil {
			return err
		}
		c, err = d.Store.Update(ctx, a.ID, func(c *ide.Container) error {
			if c.Run == a.Run {
				c.Health = judge(c.Health, checks, time.Now().UTC())
			}
			return nil
		})
		if err != nil {
			return err
		}
		SetResult(ctx, "health", c.Health)
		return nil
	},
})

// judge returns the health that follows from what was known and what a probe
// saw: unhealthy after three failures in a row, healthy after one success. A
// missing web server is the user's affair.
func judge(was *ide.Health, checks ide.Checks, now time.Time) *ide.Health {
	h := &ide.Health{Status: "healthy", LastCheck: now, Checks: checks}
	if checks.CodeServer && checks.VNC {
		return h
	}
	if was != nil {
		h.Status, h.Failures = was.Status, was.Failures
	}
	if h.Failures++; h.Failures >= unhealthyAfter {
		h.Status = "unhealthy"
	}
	return h
}
