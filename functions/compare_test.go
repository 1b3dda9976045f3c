package functions

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/internal/swarm"
)

var (
	someTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	longAgo  = someTime.Add(-2 * time.Minute)
	justNow  = someTime.Add(-2 * time.Second)
)

// taskIs returns a task of run 1 in a state, since at.
func taskIs(state string, at time.Time, change func(*swarm.Sight)) swarm.Sight {
	s := swarm.Sight{Task: ide.Task{ID: "t-" + state, Run: 1, State: state, Desired: "running", At: at}}
	switch state {
	case "new", "allocated", "pending":
		s.Queued = true
	case "complete", "shutdown", "failed", "rejected", "remove", "orphaned":
		s.Ended, s.Desired = true, "shutdown"
	}
	if change != nil {
		change(&s)
	}
	return s
}

func troubled(sentence string) func(*swarm.Sight) {
	return func(s *swarm.Sight) { s.Trouble = ide.Errorf(ide.ContainerStartFailed, "%s", sentence) }
}

func memory(s *swarm.Sight) {
	s.Trouble, s.Memory = ide.Errorf(ide.ContainerStartFailed, "Killed."), true
}

// TestTaskStates judges a running container by every state its newest task can
// be in, just now and for long.
func TestTaskStates(t *testing.T) {
	t.Parallel()
	late := map[string]deed{ // what follows when nothing changes; nothing for those that are missing
		"complete": stopIt, "shutdown": stopIt, "failed": stopIt, "rejected": stopIt, "remove": stopIt, "orphaned": stopIt,
	}
	for _, state := range []string{"new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running",
		"complete", "shutdown", "failed", "rejected", "remove", "orphaned", "a word of a later engine"} {
		for at, want := range map[time.Time]deed{justNow: "", longAgo: late[state]} {
			got := judgeOne(ide.Running, func(v *swarm.View) { v.Tasks["c"] = []swarm.Sight{taskIs(state, at, nil)} })
			if deeds(got) != string(want) {
				t.Errorf("%s since %v: got %q, want %q", state, someTime.Sub(at), deeds(got), want)
			}
		}
	}
}

// judgeOne compares one container, run 1 on node n1, whose service, secret and
// config are there and old, after change.
func judgeOne(status ide.Status, change func(*swarm.View), edits ...func(*store.Standing)) []verdict {
	c := ide.Container{ID: "c", Run: 1, Status: status, Node: "n1"}
	v := swarm.View{
		Services: []swarm.Service{{Container: "c", Run: 1, CreatedAt: longAgo, UpdatedAt: longAgo}},
		Tasks:    map[string][]swarm.Sight{"c": {taskIs("running", longAgo, nil)}},
		Secrets:  []swarm.Fence{{Container: "c", Run: 1}},
		Records:  []swarm.Record{{Container: c}},
	}
	if change != nil {
		change(&v)
	}
	all := []store.Standing{{Container: c, Rev: "1"}}
	for _, edit := range edits {
		edit(&all[0])
		if all[0].Container.ID == "" {
			all = nil
		}
	}
	return compare(v, all, func(n string) ide.Fate {
		return cmp.Or(map[string]ide.Fate{"lost": ide.NodeIsDown, "gone": ide.NodeGone}[n], ide.NodeUp)
	}, someTime)
}

func deeds(list []verdict) string {
	var words []string
	for _, v := range list {
		words = append(words, string(v.do))
	}
	return strings.Join(words, ", ")
}

func TestCompare(t *testing.T) {
	t.Parallel()
	forget := func(s *store.Standing) { s.Container = ide.Container{} }
	open := func(f string) func(*store.Standing) { return func(s *store.Standing) { s.Open = []string{f} } }
	unsaved := func(s *store.Standing) { s.Container.Unsaved = true }
	none := func(v *swarm.View) { v.Services, v.Tasks = nil, nil }
	tasks := func(list ...swarm.Sight) func(*swarm.View) { return func(v *swarm.View) { v.Tasks["c"] = list } }
	crash := taskIs("failed", someTime.Add(-20*time.Minute), troubled("Code 3."))
	old := taskIs("failed", someTime.Add(-2*time.Hour), troubled("Code 3."))
	for name, tc := range map[string]struct {
		status ide.Status
		swarm  func(*swarm.View)
		record func(*store.Standing)
		want   string
		says   string
		cause  ide.ShutdownReason
		code   ide.Code
	}{
		"all is well":                       {status: ide.Running},
		"a start under way":                 {status: ide.Starting, swarm: none, record: open("container-create")},
		"a lost start":                      {status: ide.Starting, swarm: none, want: "resume"},
		"a lost start beside a probe":       {status: ide.Starting, record: open("container-probe"), want: "resume"},
		"a stop under way":                  {status: ide.Stopping, swarm: none, record: open("container-stop")},
		"a lost stop":                       {status: ide.Stopping, want: "stop again"},
		"a job of a later release":          {status: ide.Running, swarm: none, record: open("container-fly")},
		"its node has left":                 {status: ide.Running, record: func(s *store.Standing) { s.Container.Node = "gone" }, want: "stop", says: "has left", cause: ide.ByError, code: ide.Docker},
		"its node is lost":                  {status: ide.Running, record: func(s *store.Standing) { s.Container.Node = "lost" }, want: "stop", says: "does not answer", cause: ide.ByError, code: ide.Docker},
		"its service was removed":           {status: ide.Running, swarm: none, want: "stop", says: "removed", cause: ide.ByError, code: ide.Docker},
		"its service was scaled to nothing": {status: ide.Running, swarm: func(v *swarm.View) { v.Services[0].Parked = true }, want: "stop", says: "changed"},
		"its service only saves":            {status: ide.Running, swarm: func(v *swarm.View) { v.Services[0].Saver = true }, want: "stop", says: "changed"},
		"a record of an older run":          {status: ide.Running, swarm: func(v *swarm.View) { v.Services[0].Run = 2 }},
		"no task yet":                       {status: ide.Running, swarm: func(v *swarm.View) { v.Tasks = nil; v.Services[0].UpdatedAt = justNow }},
		"no task for long":                  {status: ide.Running, swarm: func(v *swarm.View) { v.Tasks = nil }, want: "stop", says: "does not run"},
		"tasks of another run only":         {status: ide.Running, swarm: tasks(taskIs("running", longAgo, func(s *swarm.Sight) { s.Run = 3 })), want: "stop"},
		"restarted once":                    {status: ide.Running, swarm: tasks(taskIs("running", justNow, nil), crash)},
		"restarted again and again":         {status: ide.Running, swarm: tasks(taskIs("running", justNow, nil), crash, crash, crash, crash), want: "stop", says: "ended 4 times", cause: ide.ByError, code: ide.ContainerStartFailed},
		"restarted long ago":                {status: ide.Running, swarm: tasks(taskIs("running", justNow, nil), crash, crash, crash, old)},
		"image missing on a restart":        {status: ide.Running, swarm: tasks(taskIs("rejected", longAgo, troubled("The image is missing."))), want: "stop", says: "The image is missing.", cause: ide.ByError, code: ide.Docker},
		"out of memory":                     {status: ide.Running, swarm: tasks(taskIs("failed", longAgo, memory)), want: "stop", cause: ide.ResourceLimit, code: ide.ResourceLimitExceeded},
		"no address for a moment":           {status: ide.Running, swarm: tasks(taskIs("new", justNow, troubled("No address.")))},
		"no address for long":               {status: ide.Running, swarm: tasks(taskIs("new", longAgo, troubled("No address."))), want: "stop", says: "No address."},
		"stopped, something is left":        {status: ide.Stopped, want: "clear, drop secret"},
		"stopped, left a moment ago":        {status: ide.Stopped, swarm: func(v *swarm.View) { v.Services[0].CreatedAt = justNow; v.Secrets[0].CreatedAt = justNow }},
		"stopped, a start under way":        {status: ide.Stopped, record: open("container-start")},
		"failed and parked":                 {status: ide.Failed, record: unsaved},
		"failed, nothing left":              {status: ide.Failed, swarm: func(v *swarm.View) { none(v); v.Secrets = nil }},
		"a later run's service":             {status: ide.Stopped, swarm: func(v *swarm.View) { v.Services[0].Run = 2; v.Secrets = nil }},
		"an older run's secret":             {status: ide.Running, swarm: func(v *swarm.View) { v.Secrets[0].Run = 0 }, want: "drop secret"},
		"a config without a record":         {record: forget, want: "rebuild"},
		"a config that cannot be read":      {record: forget, swarm: func(v *swarm.View) { v.Records[0].Err = errUnscripted }},
		"a service that nobody knows":       {record: forget, swarm: func(v *swarm.View) { v.Records = nil }, want: "clear, drop secret"},
		"a service made a moment ago":       {record: forget, swarm: func(v *swarm.View) { v.Records = nil; v.Services[0].CreatedAt = justNow; v.Secrets = nil }},
		"a secret that nobody knows":        {record: forget, swarm: func(v *swarm.View) { none(v); v.Records = nil }, want: "drop secret"},
		"nothing at all":                    {record: forget, swarm: func(v *swarm.View) { *v = swarm.View{} }},
	} {
		edits := []func(*store.Standing){}
		if tc.record != nil {
			edits = append(edits, tc.record)
		}
		got := judgeOne(tc.status, tc.swarm, edits...)
		if deeds(got) != tc.want {
			t.Errorf("%s: got %q, want %q", name, deeds(got), tc.want)
			continue
		}
		i := slices.IndexFunc(got, func(v verdict) bool { return v.do == stopIt })
		if i < 0 {
			continue
		}
		v := got[i]
		if !strings.Contains(v.why.Message, tc.says) || tc.cause != "" && v.cause != tc.cause || tc.code != "" && v.why.Code != tc.code {
			t.Errorf("%s: got %s %s %q, want %s %s %q", name, v.cause, v.why.Code, v.why.Message, tc.cause, tc.code, tc.says)
		}
	}
}

// TestEveryServiceHasAnOwner compares every combination of what record, config and
// service say of the run and of the state. Whatever went back in time, a service
// that runs is the record's, or there is a verdict about its container.
func TestEveryServiceHasAnOwner(t *testing.T) {
	t.Parallel()
	for _, record := range append(ide.Statuses(), "") { // "" is none
		for recordRun := 1; recordRun <= 3; recordRun++ {
			for _, config := range append(ide.Statuses(), "") {
				for serviceRun := 1; serviceRun <= 3; serviceRun++ {
					if config == "" && serviceRun > recordRun {
						continue // the config is written before the service
					}
					configRun := max(serviceRun, recordRun-1) // and the record before the config
					v := swarm.View{
						Services: []swarm.Service{{Container: "c", Run: serviceRun, CreatedAt: longAgo, UpdatedAt: longAgo}},
						Tasks:    map[string][]swarm.Sight{"c": {taskIs("running", longAgo, func(s *swarm.Sight) { s.Run = serviceRun })}},
					}
					if config != "" {
						v.Records = []swarm.Record{{Container: ide.Container{ID: "c", Run: configRun, Status: config, Node: "n1"}}}
					}
					var all []store.Standing
					if record != "" {
						all = []store.Standing{{Container: ide.Container{ID: "c", Run: recordRun, Status: record, Node: "n1"}, Rev: "1"}}
					}
					got := compare(v, all, func(string) ide.Fate { return ide.NodeUp }, someTime)
					owned := record == ide.Running && recordRun == serviceRun
					if !owned && len(got) == 0 {
						t.Errorf("record %q run %d, config %q run %d: the service of run %d is nobody's", record, recordRun, config, configRun, serviceRun)
					}
					if record != "" && configRun > recordRun && config != "" && deeds(got) != string(advanceIt) {
						t.Errorf("record %q run %d, config %q run %d: got %q, want that the record is brought up", record, recordRun, config, configRun, deeds(got))
					}
				}
			}
		}
	}
}
