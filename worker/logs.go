package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/internal/swarm"

	"golang.org/x/time/rate"
)

// Bounds of shipping.
const (
	shipEvery   = 100 * time.Millisecond
	shipLines   = 500             // are shipped at once
	shipPause   = time.Second     // after Redis has not taken them
	followPause = time.Second     // before a log that cannot be read is tried again, doubled each time
	followMost  = time.Minute     // the longest of these pauses
	noticeEvery = time.Second     // a container's dropped lines are told of so often at most
	farewell    = 2 * time.Second // to ship what is gathered when the worker is to end
)

// logShip reads the logs of this node's containers and ships them. What was
// shipped and how far a log was read are written together, so lines are
// neither lost nor doubled when a worker ends, however it ends. While Redis
// does not take lines nothing is read: they wait in the engine.
type logShip struct {
	w     *Worker
	lines chan printed // from the logs to what ships

	mu   sync.Mutex
	logs map[string]*containerLog // by engine ID; nil before the first look
}

// containerLog is the log of one container on this node.
type containerLog struct {
	engineID  string
	container string

	// Of the mutex of logShip.
	reading bool
	lost    bool // another has moved the cursor: it is to be read from Redis
	done    bool // the container has ended, and its log was read to the end
	tries   int  // that failed, in a row
	again   time.Time
	stop    context.CancelFunc
	turn    int // counts the times that the cursor was set anew; lines of an earlier turn are void

	read store.LogCursor // of who reads the log

	// Of what ships.
	shipped store.LogCursor
	limit   *rate.Limiter
	dropped int
	since   time.Time // when the first of those was dropped
}

// printed is a line on its way.
type printed struct {
	log  *containerLog
	turn int
	line ide.LogLine
	to   store.LogCursor
}

func newLogShip(w *Worker) *logShip { return &logShip{w: w, lines: make(chan printed, 2*shipLines)} }

// Run reads and ships until ctx ends.
func (s *logShip) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { s.ship(ctx) })
	s.w.every(ctx, time.Second, "follow logs", func(ctx context.Context) error { return s.look(ctx, &wg) })
	wg.Wait()
}

// Read says whether the log of a container of this node was read to its end and
// shipped.
func (s *logShip) Read(engineID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logs[engineID]
	return l != nil && l.done && !l.lost && l.shipped == l.read
}

// look begins to read the logs of containers that are new or that are due to be
// tried again, and forgets those that are gone.
func (s *logShip) look(ctx context.Context, wg *sync.WaitGroup) error {
	node := s.w.Node()
	if node == "" {
		return nil
	}
	asked, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	list, err := s.w.deps.Swarm.LocalContainers(asked)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.place(asked, node, list); err != nil {
		return err
	}
	there := map[string]bool{}
	for _, c := range list {
		there[c.EngineID] = true
		l := s.logs[c.EngineID]
		if l.done = l.done && c.Ended; l.reading || l.done || time.Now().Before(l.again) {
			continue
		}
		reading, stop := context.WithCancel(ctx)
		l.reading, l.stop = true, stop
		turn := l.turn
		wg.Go(func() {
			defer stop()
			began := time.Now()
			err := s.read(reading, l, turn)
			s.over(ctx, l, c.Ended, time.Since(began), err)
		})
	}
	var gone []string
	for id, l := range s.logs {
		if !there[id] && !l.reading {
			gone = append(gone, id)
			delete(s.logs, id)
		}
	}
	return s.w.deps.Store.ForgetLogs(asked, node, gone)
}

// place reads from Redis how far the logs were read of which this worker does
// not know it.
func (s *logShip) place(ctx context.Context, node string, list []swarm.LocalContainer) error {
	ask := s.logs == nil
	for _, l := range s.logs {
		ask = ask || l.lost && !l.reading
	}
	for _, c := range list {
		ask = ask || s.logs[c.EngineID] == nil
	}
	if !ask {
		return nil
	}
	cursors, err := s.w.deps.Store.LogCursors(ctx, node)
	if err != nil {
		return err
	}
	if s.logs == nil {
		s.logs = map[string]*containerLog{}
		for id := range cursors { // those of containers that are gone are forgotten
			s.logs[id] = &containerLog{engineID: id, read: cursors[id], shipped: cursors[id], limit: s.limiter()}
		}
	}
	for _, c := range list {
		l := s.logs[c.EngineID]
		if l == nil {
			l = &containerLog{engineID: c.EngineID, lost: true, limit: s.limiter()}
			s.logs[c.EngineID] = l
		}
		if l.container == "" { // afterwards who reads the log reads it, too
			l.container = c.Container
		}
		if l.lost && !l.reading {
			l.lost, l.read, l.shipped = false, cursors[c.EngineID], cursors[c.EngineID]
			l.turn++
		}
	}
	return nil
}

func (s *logShip) limiter() *rate.Limiter {
	if s.w.cfg.LogRate <= 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(s.w.cfg.LogRate), 5*s.w.cfg.LogRate)
}

// read follows a log from where it was read to. The engine begins with the
// very instant, of which some lines were taken already.
func (s *logShip) read(ctx context.Context, l *containerLog, turn int) error {
	node, from, taken := s.w.Node(), l.read, 0
	behind := true
	return s.w.deps.Swarm.FollowLogs(ctx, l.engineID, from.At, func(line ide.LogLine) error {
		if behind {
			if line.At.Before(from.At) {
				return nil
			}
			if line.At.Equal(from.At) && taken < from.Lines {
				taken++
				return nil
			}
			behind = line.At.Equal(from.At)
		}
		line.Node, line.Container, line.Text = node, l.container, ide.CleanLog(line.Text)
		line.Level = ide.LogLevel(line.Source, line.Text)
		l.read = l.read.After(line.At)
		select {
		case s.lines <- printed{l, turn, line, l.read}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// over notes that a log is not read any more. A container that was known to
// have ended is done with; any other is looked at once more.
func (s *logShip) over(ctx context.Context, l *containerLog, ended bool, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.reading = false; took > followMost {
		l.tries = 0
	}
	switch {
	case ctx.Err() != nil || l.lost:
	case err == nil:
		l.done, l.tries = ended, 0
	default:
		if l.tries == 1 { // the first is an engine that restarts, or a container that is removed
			s.w.log.Warn("log cannot be read", "container", l.container, "err", err)
		}
		l.again = time.Now().Add(min(followPause<<min(l.tries, 10), followMost))
		l.tries++
	}
}

// ship gathers lines and ships them, until ctx ends.
func (s *logShip) ship(ctx context.Context) {
	tick := time.NewTicker(shipEvery)
	defer tick.Stop()
	load := newCargo()
	for {
		select {
		case <-ctx.Done():
			bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			_ = s.send(bye, load) // what is not shipped now, the next worker reads again
			return
		case p := <-s.lines:
			s.take(load, p)
			if load.lines < shipLines {
				continue
			}
		case <-tick.C:
			s.notices(load)
		}
		for failing := false; len(load.parts) > 0; {
			err := s.send(ctx, load)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			if !failing {
				s.w.log.Warn("log lines cannot be shipped", "err", err)
			}
			failing = true
			select {
			case <-ctx.Done():
				return
			case <-time.After(shipPause):
			}
		}
	}
}

// cargo is what is shipped at once.
type cargo struct {
	parts map[*containerLog]*store.Shipment
	lines int // taken, dropped ones included
}

func newCargo() *cargo { return &cargo{parts: map[*containerLog]*store.Shipment{}} }

func (c *cargo) of(l *containerLog) *store.Shipment {
	part := c.parts[l]
	if part == nil {
		part = &store.Shipment{EngineID: l.engineID, From: l.shipped, To: l.shipped}
		c.parts[l] = part
	}
	return part
}

// take puts a line to the others, or drops it where the container prints more
// than it may. It counts by the lines' own times: a backlog that is read at
// once is no flood.
func (s *logShip) take(load *cargo, p printed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.turn != p.log.turn || p.log.lost {
		return
	}
	part := load.of(p.log)
	part.To = p.to
	load.lines++
	if p.log.limit.AllowN(p.line.At, 1) {
		part.Lines = append(part.Lines, p.line)
		return
	}
	if p.log.dropped == 0 {
		p.log.since = time.Now()
	}
	p.log.dropped++
}

// notices adds a line for each container of which lines were dropped.
func (s *logShip) notices(load *cargo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.logs {
		if l.dropped == 0 || l.lost || time.Since(l.since) < noticeEvery {
			continue
		}
		part := load.of(l)
		part.Lines = append(part.Lines, ide.LogLine{At: time.Now().UTC(), Node: s.w.Node(), Container: l.container, Source: ide.SourceWorker, Level: ide.LevelWarn,
			Text: fmt.Sprintf("%d lines were dropped: a container may print %d a second", l.dropped, s.w.cfg.LogRate)})
		l.dropped = 0
	}
}

// send ships what is gathered, and empties it. A log of which another worker
// has moved the cursor is read anew from there.
func (s *logShip) send(ctx context.Context, load *cargo) error {
	list := make([]store.Shipment, 0, len(load.parts))
	for _, part := range load.parts {
		list = append(list, *part)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stale, err := s.w.deps.Store.ShipLogs(ctx, s.w.Node(), list)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for l, part := range load.parts {
		l.shipped = part.To
	}
	for _, id := range stale {
		if l := s.logs[id]; l != nil && !l.lost {
			l.lost, l.done = true, false
			if l.stop != nil {
				l.stop()
			}
		}
	}
	load.parts, load.lines = map[*containerLog]*store.Shipment{}, 0
	return nil
}
