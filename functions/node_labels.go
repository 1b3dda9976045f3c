package functions

import (
	"context"
	"fmt"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// NodeLabels are the labels of a node.
type NodeLabels struct {
	Labels map[string]string `json:"labels" maxProperties:"64" doc:"All labels that the node is to have; those that are not named go" example:"{\"gpu\": \"true\"}"`
}

// LabelNodeArgs is the job of setting a node's labels.
type LabelNodeArgs struct {
	NodeInput
	Body NodeLabels `json:"body"`
}

// LabelNode replaces the labels of a node, which containers are placed by. What
// runs there stays.
var LabelNode = define(Function[LabelNodeArgs]{
	Name: "node-labels", Doc: "Replace the labels of a node", Route: "PUT /api/nodes/{id}/labels",
	Queue: queue.Critical, Attempts: 5, Timeout: time.Minute,
	Admit: func(ctx context.Context, d *Deps, p ide.Principal, a *LabelNodeArgs) (store.Admission, error) {
		return admitNode(ctx, d, p, &a.ID, func(ide.Node) error {
			return checkLabels(a.Body.Labels)
		})
	},
	Run: func(ctx context.Context, d *Deps, a LabelNodeArgs) error {
		err := Step(ctx, "labels", func(ctx context.Context) error { return d.Swarm.SetLabels(ctx, a.ID, a.Body.Labels) })
		if err != nil {
			return err
		}
		// until the labels are published, admission would go by the old ones
		return Step(ctx, "published", func(ctx context.Context) error {
			return d.nodeShows(ctx, a.ID, func(n ide.Node) bool { return fmt.Sprint(n.Labels) == fmt.Sprint(a.Body.Labels) })
		})
	},
})

// publishPatience is how long a change of a node may take to be published.
const publishPatience = 20 * time.Second

// nodeShows waits until what is published of a node is as it should be; a node
// that is gone, or was changed by somebody else, is not waited for for ever.
func (d *Deps) nodeShows(ctx context.Context, id string, ok func(ide.Node) bool) error {
	for end := time.Now().Add(publishPatience); time.Now().Before(end); {
		n, err := d.node(ctx, id)
		if err == nil && ok(n) || ide.HasCode(err, ide.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
