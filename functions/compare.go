package functions

import (
	"fmt"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/internal/swarm"
)

// How long something must look wrong before it is believed. A manager that lags
// behind, and work that another worker is in the middle of, look wrong for
// moments.
const (
	strayGrace   = time.Minute      // of what nothing owns
	taskPatience = time.Minute      // of a task that does not come to run
	endPatience  = 10 * time.Second // of a task that has ended and is not followed by another
	crashWindow  = time.Hour        // in which crashes are counted
	maxCrashes   = 4                // Swarm remembers five tasks, the present one included
)

// verdict is one thing that the records and the Swarm do not agree on, and what
// is to be done.
type verdict struct {
	do    deed
	id    string
	run   int
	from  ide.Status         // the record's status, for a stop
	why   *ide.Error         // stop
	cause ide.ShutdownReason // stop
	once  bool               // stop: one try to save, and then the files stay where they are
	task  string             // stop: whose last lines the history gets
}

type deed string

// The deeds. None can do harm when what it rests on has changed since.
const (
	stopIt     deed = "stop"        // save what can be saved, remove all, and call it failed
	resumeIt   deed = "resume"      // its start was lost: begin it again
	stopAgain  deed = "stop again"  // its stop was lost: begin it again
	rebuildIt  deed = "rebuild"     // the Swarm holds a container that has no record
	advanceIt  deed = "advance"     // the Swarm holds a later run than the record: Redis has gone back in time
	clearIt    deed = "clear"       // remove a service and secret that nothing owns
	dropSecret deed = "drop secret" // remove a secret that nothing owns
)

// compare sets the Swarm against the records: a pure function. fate says what has
// become of a node, and has been so for a while.
func compare(v swarm.View, all []store.Standing, fate func(node string) ide.Fate, now time.Time) (out []verdict) {
	services := map[string]*swarm.Service{}
	for i := range v.Services {
		services[v.Services[i].Container] = &v.Services[i]
	}
	records := map[string]store.Standing{}
	for _, s := range all {
		records[s.Container.ID] = s
		later := slices.ContainsFunc(v.Records, func(r swarm.Record) bool {
			return r.Err == nil && r.Container.ID == s.Container.ID && r.Container.Run > s.Container.Run
		})
		switch {
		case slices.ContainsFunc(s.Open, moves): // in good hands
		case later:
			out = append(out, verdict{do: advanceIt, id: s.Container.ID, run: s.Container.Run})
		default:
			out = append(out, judgeRecord(s.Container, services[s.Container.ID], v.Tasks[s.Container.ID], fate, now)...)
		}
	}
	configs := map[string]bool{}
	for _, r := range v.Records {
		id := r.Container.ID
		configs[id] = true
		if _, known := records[id]; !known && r.Err == nil {
			out = append(out, verdict{do: rebuildIt, id: id, run: r.Container.Run})
		}
	}
	for id, s := range services {
		if _, known := records[id]; !known && !configs[id] && now.Sub(s.CreatedAt) > strayGrace {
			out = append(out, verdict{do: clearIt, id: id, run: s.Run})
		}
	}
	for _, f := range v.Secrets {
		s, known := records[f.Container]
		c := s.Container
		needed := configs[f.Container] && !known || known && (f.Run > c.Run || f.Run == c.Run && (c.Status.Live() || c.Unsaved)) ||
			slices.ContainsFunc(s.Open, moves)
		if !needed && now.Sub(f.CreatedAt) > strayGrace {
			out = append(out, verdict{do: dropSecret, id: f.Container, run: f.Run})
		}
	}
	slices.SortStableFunc(out, func(a, b verdict) int { return slices.Compare([]byte(a.id), []byte(b.id)) })
	return out
}

// moves says whether a function changes a container's state.
func moves(function string) bool {
	f, ok := registry[function]
	return !ok || f.Moves // of another release: better left alone
}

// judgeRecord judges a container that no job is open for.
func judgeRecord(c ide.Container, s *swarm.Service, tasks []swarm.Sight, fate func(string) ide.Fate, now time.Time) []verdict {
	switch c.Status {
	case ide.Starting:
		return []verdict{{do: resumeIt, id: c.ID, run: c.Run}}
	case ide.Stopping:
		return []verdict{{do: stopAgain, id: c.ID, run: c.Run, from: c.Status, cause: c.ShutdownReason}}
	case ide.Running:
		if v := judgeRunning(c, s, tasks, fate, now); v != nil {
			v.do, v.id, v.run, v.from = stopIt, c.ID, c.Run, c.Status
			if v.cause == "" {
				v.cause = ide.ByError
			}
			return []verdict{*v}
		}
	default:
		if s != nil && s.Run <= c.Run && !c.Unsaved && now.Sub(s.CreatedAt) > strayGrace {
			return []verdict{{do: clearIt, id: c.ID, run: s.Run}}
		}
	}
	return nil
}

// judgeRunning says why a container that ought to run does not, or nil.
func judgeRunning(c ide.Container, s *swarm.Service, tasks []swarm.Sight, fate func(string) ide.Fate, now time.Time) *verdict {
	switch f := fate(c.Node); {
	case f != ide.NodeUp:
		return &verdict{once: true, why: ide.Errorf(ide.Docker, "%s", f.Sentence())}
	case s == nil:
		return &verdict{why: ide.Errorf(ide.Docker, "Its service was removed from the Swarm, and not by Berth.")}
	case s.Run > c.Run:
		return nil // the record is an old one, which a rebuild replaces
	case s.Parked || s.Saver || s.Run < c.Run:
		return &verdict{why: ide.Errorf(ide.Docker, "Its service was changed, and not by Berth: it does not run any more.")}
	}
	tasks = slices.DeleteFunc(slices.Clone(tasks), func(t swarm.Sight) bool { return t.Run != c.Run || t.Saver })
	if len(tasks) == 0 {
		if now.Sub(s.UpdatedAt) > taskPatience {
			return &verdict{why: ide.Errorf(ide.Docker, "Swarm does not run it.")}
		}
		return nil
	}
	crashes, newest := 0, tasks[0]
	for _, t := range tasks {
		if t.Ended && t.State == "failed" && now.Sub(t.At) < crashWindow {
			crashes++
		}
	}
	alive := slices.IndexFunc(tasks, func(t swarm.Sight) bool { return t.Desired == "running" && !t.Ended })
	switch {
	case crashes >= maxCrashes:
		last := tasks[slices.IndexFunc(tasks, func(t swarm.Sight) bool { return t.Ended && t.State == "failed" })]
		why := ide.Errorf(ide.ContainerStartFailed, "It has ended %d times within an hour.", crashes)
		if last.Trouble != nil {
			why = &ide.Error{Code: why.Code, Message: why.Message + " " + last.Trouble.Message, Err: last.Trouble.Err, Permanent: true}
		}
		return dead(last, why)
	case alive >= 0:
		if t := tasks[alive]; t.Trouble != nil && now.Sub(t.At) > taskPatience {
			return dead(t, t.Trouble)
		}
		return nil
	case now.Sub(newest.At) < endPatience:
		return nil // Swarm starts another in a moment
	case newest.Trouble != nil:
		return dead(newest, newest.Trouble)
	}
	return dead(newest, ide.Errorf(ide.Docker, "Its task is %s, and Swarm starts no other.", newest.State))
}

// dead is the verdict on a container whose task does not come back. Code and
// reason say whether memory was the cause.
func dead(t swarm.Sight, why *ide.Error) *verdict {
	v := &verdict{why: &ide.Error{Code: ide.Docker, Message: why.Message, Err: why.Err, Permanent: true}, cause: ide.ByError, task: t.ID}
	if why.Code == ide.ContainerStartFailed && t.State == "failed" {
		v.why.Code = ide.ContainerStartFailed
	}
	if t.Memory {
		v.why.Code, v.cause = ide.ResourceLimitExceeded, ide.ResourceLimit
	}
	return v
}

// String is for the log.
func (v verdict) String() string { return fmt.Sprintf("%s %s run %d", v.do, v.id, v.run) }
