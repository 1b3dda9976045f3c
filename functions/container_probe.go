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

// ProbeContainer looks at a container's three ports through the edge, the way
// users do, and asks its agent when it was last used.
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
		return Step(ctx, "ports", func(ctx context.Context) error {
			c, err := d.noteSight(ctx, c, d.look(ctx, c))
			SetResult(ctx, "health", c.Health)
			return err
		})
	},
})
