package worker

import (
	"context"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/swarm"
)

// listenPause is between an event and the comparison that it asks for: one
// change in Swarm makes several.
const listenPause = time.Second

// listen asks for a comparison of Swarm and records when the engine of this
// node tells that a container of ours has ended by itself, that a service was
// removed, or that a node has come or gone. It returns when the engine does, or
// when ctx ends. Events are hints: what is missed, the next instant of the
// schedule sees.
func (w *Worker) listen(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, errs := w.deps.Swarm.Events(ctx)
	var due <-chan time.Time
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return <-errs
			}
			if due == nil && telling(e) {
				due = time.After(listenPause)
			}
		case <-due:
			due = nil
			if err := functions.AskReconcile(ctx, w.deps); err != nil && ctx.Err() == nil {
				w.log.Warn("comparison was not asked for", "err", err)
			}
		}
	}
}

// telling says whether an event may mean that Swarm and records differ now.
func telling(e swarm.Event) bool {
	switch e.Type {
	case "container":
		return e.Action == "die" || e.Action == "oom"
	case "service":
		return e.Action == "remove" && ide.ValidID(e.Container)
	default:
		return e.Type == "node"
	}
}
