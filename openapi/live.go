package openapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/store"
)

// Pace of what open dashboards are told.
const (
	liveBeat   = 5 * time.Second        // that the control plane answers
	liveGather = 100 * time.Millisecond // changes of one record within it are one
	liveBoards = 2 * time.Second        // between two looks at what is shown as a whole
	liveAway   = time.Second            // until Redis is asked again
)

// live tells the dashboards that are open of what changes. However many there
// are, this process hears of a change once, reads it once and encodes it once.
// It rests while none is open.
type live struct {
	s *server

	mu        sync.Mutex
	listeners map[*listener]struct{}
	hears     bool              // of changes, now
	shown     map[string][]byte // each board as it was last told
	stop      context.CancelFunc
	look      chan struct{} // somebody wants the boards now
}

// board is something that is shown as a whole: overview, nodes.
type board struct {
	name string
	read func(ctx context.Context) (any, error)
}

// join adds a listener.
func (v *live) join(l *listener) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.listeners) == 0 {
		ctx, stop := context.WithCancel(context.Background())
		v.listeners, v.hears, v.shown, v.stop, v.look = map[*listener]struct{}{}, false, map[string][]byte{}, stop, make(chan struct{}, 1)
		go v.watch(ctx)
		go v.boards(ctx, v.look)
	}
	v.listeners[l] = struct{}{}
	if v.hears {
		v.greet(l)
	}
}

// leave removes a listener.
func (v *live) leave(l *listener) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if delete(v.listeners, l); len(v.listeners) == 0 {
		v.stop()
	}
}

// greet tells a listener where it stands; the caller holds the lock.
func (v *live) greet(l *listener) {
	l.put(func() { l.hello = true })
	for name, text := range v.shown {
		if l.topics[name] {
			l.put(func() { l.boards[name] = text })
		}
	}
	select {
	case v.look <- struct{}{}:
	default:
	}
}

// each calls tell for every listener.
func (v *live) each(tell func(*listener)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for l := range v.listeners {
		tell(l)
	}
}

// watch hears of changes until ctx ends. When Redis was away nobody knows what
// was missed: everybody is greeted again, and reads again.
func (v *live) watch(ctx context.Context) {
	changes := make(chan store.Change, 1024)
	done := make(chan struct{})
	go func() { defer close(done); v.gather(ctx, changes) }()
	for failing := false; ctx.Err() == nil; {
		err := v.s.deps.Store.Watch(ctx, v.s.cfg.beat(), func() {
			failing = false
			v.mu.Lock()
			defer v.mu.Unlock()
			if ctx.Err() != nil {
				return // others watch by now
			}
			v.hears = true
			for l := range v.listeners {
				v.greet(l)
			}
		}, func(c store.Change) {
			select {
			case changes <- c:
			case <-ctx.Done():
			}
		})
		v.mu.Lock()
		if ctx.Err() == nil {
			v.hears = false
		}
		v.mu.Unlock()
		if !failing && ctx.Err() == nil {
			v.s.log.Warn("changes cannot be watched", "err", err)
		}
		failing = true
		select {
		case <-ctx.Done():
		case <-time.After(liveAway):
		}
	}
	<-done
}

// gather reads what has changed, a moment after the first change of it.
func (v *live) gather(ctx context.Context, changes <-chan store.Change) {
	containers, jobs := map[string]string{}, map[string]bool{}
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-changes:
			switch {
			case c.Container != "":
				containers[c.Container] = c.Owner
			case c.Job != "":
				jobs[c.Job] = true
			default:
				v.each(func(l *listener) { l.put(func() { l.beat = true }) })
				continue
			}
			if due == nil {
				due = time.After(liveGather)
			}
		case <-due:
			due = nil
			if err := v.tell(ctx, containers, jobs); err != nil && ctx.Err() == nil {
				v.s.log.Warn("changes cannot be read", "err", err)
				due = time.After(liveAway)
				continue
			}
			clear(containers)
			clear(jobs)
		}
	}
}

// tell reads containers, of which it knows the owner, and jobs, and hands them
// to those who may see them.
func (v *live) tell(ctx context.Context, containers map[string]string, jobs map[string]bool) error {
	st := v.s.deps.Store
	list, err := st.JobsOf(ctx, keysOf(jobs))
	if err != nil {
		return err
	}
	need := keysOf(containers)
	for _, j := range list {
		if _, ok := containers[j.Container]; !ok && j.Container != "" {
			need = append(need, j.Container) // its owner may see the job
		}
	}
	records, err := st.ContainersOf(ctx, need)
	if err != nil {
		return err
	}
	owners := map[string]string{}
	for _, c := range records {
		owners[c.ID] = c.Owner
	}
	changed := slices.DeleteFunc(records, func(c ide.Container) bool { _, ok := containers[c.ID]; return !ok })
	answers, err := v.s.answerContainers(ctx, changed)
	if err != nil {
		return err
	}
	for i, c := range changed {
		frame := sseFrame("container", answers[i])
		v.each(func(l *listener) {
			if l.p.MaySee(c.Owner) {
				l.item("containers", c.ID, frame)
			}
		})
	}
	for id, owner := range containers {
		if _, there := owners[id]; there {
			continue
		}
		frame := sseFrame("gone", Gone{id})
		v.each(func(l *listener) {
			if l.p.MaySee(owner) {
				l.item("containers", id, frame)
			}
		})
	}
	for _, j := range list {
		frame := sseFrame("job", functions.AnswerJob(j))
		v.each(func(l *listener) {
			if owner, ok := owners[j.Container]; l.p.MaySee(j.Owner) || ok && l.p.MaySee(owner) {
				l.item("jobs", j.ID, frame)
			}
		})
	}
	return nil
}

// boards looks at what is shown as a whole, while somebody wants it.
func (v *live) boards(ctx context.Context, look <-chan struct{}) {
	tick := time.NewTicker(liveBoards)
	defer tick.Stop()
	for {
		for _, b := range v.s.boards() {
			wanted := false
			v.each(func(l *listener) { wanted = wanted || l.topics[b.name] })
			if !wanted {
				continue
			}
			body, err := b.read(ctx)
			if err != nil {
				continue // the beats end as well
			}
			frame := sseFrame(b.name, body)
			v.mu.Lock()
			if !bytes.Equal(v.shown[b.name], frame) && ctx.Err() == nil {
				v.shown[b.name] = frame
				for l := range v.listeners {
					if l.topics[b.name] {
						l.put(func() { l.boards[b.name] = frame })
					}
				}
			}
			v.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-look:
		case <-tick.C:
		}
	}
}

func keysOf[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// sseFrame is something as a server-sent event without an ID.
func sseFrame(kind string, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("openapi: encode %s: %v", kind, err)) // it is made of our own types
	}
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", kind, data)
}
