package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"berth/functions"
	"berth/internal/swarm"

	"golang.org/x/sync/errgroup"
)

// When a doorman looks for containers that it has not opened yet.
const (
	openFirst = 50 * time.Millisecond // after an event, doubled while some do not answer
	openLast  = 2 * time.Second
	openWait  = 3 * time.Second // for one agent
	openMost  = 16              // agents asked at once
)

// doorman opens the containers of this node: their agents begin when it tells
// them that the filter stands. Without it containers could reach each other
// between an engine's start and the worker's: Swarm starts both at once.
//
// event of the engine -> the filter stands? -> containers that are not opened
// -> record, for the agent's token -> POST to the agent.
type doorman struct {
	w      *Worker
	mu     sync.Mutex
	opened map[string]bool // by engine ID
}

func newDoorman(w *Worker) *doorman { return &doorman{w: w, opened: map[string]bool{}} }

// Run opens containers until ctx ends.
func (d *doorman) Run(ctx context.Context) {
	d.w.every(ctx, time.Second, "open containers", d.follow)
}

// follow looks now and after each container that starts or ends, and again soon
// while there is one that could not be opened. It returns when the engine does.
func (d *doorman) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	comings := d.w.deps.Swarm.Comings(ctx)
	pause := openFirst
	for {
		var again <-chan time.Time
		if err := d.look(ctx); err != nil {
			d.w.log.Debug("containers wait to be opened", "err", err)
			again = time.After(pause)
			pause = min(2*pause, openLast)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-comings:
			if !ok {
				return errors.New("the engine tells no more of containers")
			}
			pause = openFirst
		case <-again:
		}
	}
}

// look opens what is there and was not opened. An error says that something
// remains to be opened, or may.
func (d *doorman) look(ctx context.Context) error {
	if d.w.Node() == "" {
		return errors.New("the engine was not reached yet")
	}
	asked, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	list, err := d.w.deps.Swarm.LocalContainers(asked)
	if err != nil {
		return err
	}
	waiting := d.waiting(list)
	if len(waiting) == 0 {
		return nil
	}
	if closed, err := d.w.cfg.Guard.Closed(asked); err != nil || !closed {
		return errors.Join(err, errors.New("the filter does not stand"))
	}
	var group errgroup.Group
	group.SetLimit(openMost)
	for _, c := range waiting {
		group.Go(func() error {
			short, cancel := context.WithTimeout(ctx, openWait)
			defer cancel()
			if err := functions.OpenContainer(short, d.w.deps, c); err != nil {
				return err
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			d.opened[c.EngineID] = true
			return nil
		})
	}
	return group.Wait()
}

// waiting are those that run and were not opened; of those that are gone
// nothing is kept.
func (d *doorman) waiting(list []swarm.LocalContainer) (waiting []swarm.LocalContainer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	there := map[string]bool{}
	for _, c := range list {
		there[c.EngineID] = d.opened[c.EngineID]
		if !c.Ended && !d.opened[c.EngineID] {
			waiting = append(waiting, c)
		}
	}
	d.opened = there
	return waiting
}
