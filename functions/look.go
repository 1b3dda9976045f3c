package functions

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"berth/internal/ide"
)

const (
	// requestTimeout bounds one request to a container, whatever it does, unless
	// Settings says so. A look, which makes several at once, has a second more.
	requestTimeout = 5 * time.Second
	// unhealthyAfter is how many looks in a row must fail before a container is
	// called unhealthy: one slow answer is no illness.
	unhealthyAfter = 3
)

// sight is what one look at a container has shown.
type sight struct {
	checks ide.Checks
	status *agentStatus // nil when there is no agent, or no answer
	told   time.Time    // when the agent answered
	at     time.Time    // when all had
}

// errMoved says that a container is not what it was when it was looked at.
var errMoved = errors.New("the container was moved on")

// look asks for a container's three ports and its agent at the same time, so
// that a look at one that is dead does not take four times as long.
func (d *Deps) look(ctx context.Context, c ide.Container) sight {
	ctx, cancel := context.WithTimeout(ctx, d.patience()+time.Second)
	defer cancel()
	var s sight
	var all sync.WaitGroup
	all.Go(func() { s.checks.CodeServer, _ = d.probe(ctx, c, ide.PortCode) })
	all.Go(func() { s.checks.VNC, _ = d.probe(ctx, c, ide.PortVNC) })
	all.Go(func() { s.checks.WebServer, _ = d.probe(ctx, c, ide.PortWeb) })
	all.Go(func() { s.status, s.told = d.lookInside(ctx, c), time.Now().UTC() })
	all.Wait()
	s.at = time.Now().UTC()
	return s
}

// patience is how long a container has to answer.
func (d *Deps) patience() time.Duration { return cmp.Or(d.RequestTimeout, requestTimeout) }

// lookInside asks a container's agent; no answer is nil.
func (d *Deps) lookInside(ctx context.Context, c ide.Container) *agentStatus {
	if c.NoAgent {
		return nil
	}
	secrets, _, err := d.secrets(c)
	if err != nil {
		return nil
	}
	status, err := d.agentAt(c.Address, secrets.AgentToken).status(ctx)
	if err != nil {
		return nil
	}
	return &status
}

// observe notes in a record what its agent has said of its use. The agent's
// times are by its node's clock: only how long ago something was is believed.
func observe(c *ide.Container, s *agentStatus, now time.Time) {
	if s == nil {
		return
	}
	if u := s.LastActivity; !u.At.IsZero() && u.Source != ide.UseStart {
		c.Watch.See(ide.Use{At: now.Add(-max(s.Now.Sub(u.At), 0)), Source: u.Source, Signal: ide.SignalAgent})
	}
	c.Watch.SeeCPU(s.CPUSeconds, c.ActivityCPU, now)
	c.Watch.Unknown = false
}

// noteSight writes what a look has shown, with an event when the health has
// changed, and what the agent has saved since the last one.
func (d *Deps) noteSight(ctx context.Context, c ide.Container, s sight) (ide.Container, error) {
	rec, err := d.noteHealth(ctx, c, s)
	if err != nil || s.status == nil || !s.status.Workspace.Restored {
		return rec, err
	}
	w := s.status.Workspace
	quiet := len(w.Notes)+len(w.LeftOut) == 0 && rec.Told+rec.ToldLeftOut == "" && (w.LastSave == nil || w.LastSave.Error == nil)
	if quiet && (w.LastSave == nil || rec.LastSave != nil && rec.LastSave.At.Equal(w.LastSave.At)) {
		return rec, nil // nothing new
	}
	return rec, unlessGone(d.noteSave(ctx, c, w))
}

func (d *Deps) noteHealth(ctx context.Context, c ide.Container, s sight) (ide.Container, error) {
	return d.Store.Tell(ctx, c.ID, func(rec *ide.Container) (*ide.Event, error) {
		if rec.Run != c.Run || rec.Status != ide.Running {
			return nil, errMoved
		}
		was := rec.Health
		rec.Health = judge(was, s.checks, d.Store.Shared(ctx, s.at))
		observe(rec, s.status, d.Store.Shared(ctx, s.told))
		if was == nil || was.Status == rec.Health.Status {
			return nil, nil
		}
		return &ide.Event{Type: "container." + rec.Health.Status, By: "container-probe", Message: tellHealth(rec.Health)}, nil
	})
}

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

// tellHealth says what a change of health is about.
func tellHealth(h *ide.Health) string {
	var silent []string
	if !h.Checks.CodeServer {
		silent = append(silent, "the editor")
	}
	if !h.Checks.VNC {
		silent = append(silent, "the desktop")
	}
	if len(silent) == 0 {
		return "Editor and desktop answer again."
	}
	return "No answer, several times in a row, from " + strings.Join(silent, " and ") + "."
}
