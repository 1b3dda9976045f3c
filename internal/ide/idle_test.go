package ide

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// after is a time so many seconds after noon.
func after(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

func at(seconds int) *time.Time { t := after(seconds); return &t }

func TestDeadline(t *testing.T) {
	t.Parallel()
	start := &Use{At: noon, Source: UseStart, Signal: SignalRecord}
	typed := &Use{At: after(30), Source: UseEditor, Signal: SignalAgent}
	for name, tc := range map[string]struct {
		c       Container
		seen    Activity
		longest time.Duration
		want    Deadline
		ok      bool
	}{
		"counted from the start": {Container{IdleTimeout: 60, Watch: Watch{Used: start}}, Activity{}, 0,
			Deadline{after(60), Inactivity, *start}, true},
		"from what the agent says": {Container{IdleTimeout: 60, Watch: Watch{Used: typed}}, Activity{}, 0,
			Deadline{after(90), Inactivity, *typed}, true},
		"a request on the web port seen by the gateway": {Container{IdleTimeout: 60, Watch: Watch{Used: typed}}, Activity{Web: after(40)}, 0,
			Deadline{after(100), Inactivity, Use{after(40), UseWeb, SignalGateway}}, true},
		"traffic on other ports is no use where there is an agent": {Container{IdleTimeout: 60, Watch: Watch{Used: start}}, Activity{LastActivity: after(50)}, 0,
			Deadline{after(60), Inactivity, *start}, true},
		"and is where there is none": {Container{IdleTimeout: 60, NoAgent: true, Watch: Watch{Used: start}}, Activity{LastActivity: after(50)}, 0,
			Deadline{after(110), Inactivity, Use{after(50), UseTraffic, SignalGateway}}, true},
		"an earlier run's traffic": {Container{IdleTimeout: 60, NoAgent: true, Watch: Watch{Used: start}}, Activity{LastActivity: after(-50)}, 0,
			Deadline{after(60), Inactivity, *start}, true},
		"kept alive":                    {Container{IdleTimeout: 60, Watch: Watch{Used: start, KeepUntil: at(300)}}, Activity{}, 0, Deadline{after(300), Inactivity, *start}, true},
		"a keepalive brings no forward": {Container{IdleTimeout: 60, Watch: Watch{Used: start, KeepUntil: at(10)}}, Activity{}, 0, Deadline{after(60), Inactivity, *start}, true},
		"never":                         {Container{Watch: Watch{Used: start}}, Activity{}, 0, Deadline{Use: *start}, false},
		"nothing is known":              {Container{IdleTimeout: 60}, Activity{}, 0, Deadline{}, false},
		"the end of its lifetime": {Container{IdleTimeout: 60, StartedAt: at(0), Watch: Watch{Used: typed}}, Activity{}, 80 * time.Second,
			Deadline{after(80), ResourceLimit, *typed}, true},
		"which nothing puts off": {Container{StartedAt: at(0), Watch: Watch{Used: typed, KeepUntil: at(900)}}, Activity{}, 80 * time.Second,
			Deadline{after(80), ResourceLimit, *typed}, true},
		"idle before its end": {Container{IdleTimeout: 60, StartedAt: at(0), Watch: Watch{Used: start}}, Activity{}, 80 * time.Second,
			Deadline{after(60), Inactivity, *start}, true},
	} {
		got, ok := tc.c.Deadline(tc.seen, tc.longest)
		if diff := cmp.Diff(tc.want, got); diff != "" || ok != tc.ok {
			t.Errorf("%s: ok %t (-want +got):\n%s", name, ok, diff)
		}
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	const warning = 20 * time.Second
	for name, tc := range map[string]struct {
		w        Watch
		deadline int // seconds after noon; 0 is none
		now      int
		want     IdleStep
	}{
		"used lately":                       {Watch{}, 60, 39, IdleNothing},
		"time to warn":                      {Watch{}, 60, 40, IdleWarn},
		"nobody looked in time: warn first": {Watch{}, 60, 500, IdleWarn},
		"warned":                            {Watch{StopsAt: at(60)}, 60, 59, IdleNothing},
		"the time is up":                    {Watch{StopsAt: at(60)}, 60, 60, IdleStop},
		"warned late: the whole warning":    {Watch{StopsAt: at(520)}, 60, 519, IdleNothing},
		"and then":                          {Watch{StopsAt: at(520)}, 60, 520, IdleStop},
		"used after the warning":            {Watch{StopsAt: at(60)}, 105, 50, IdlePostpone},
		"used in the last moment":           {Watch{StopsAt: at(60)}, 119, 61, IdlePostpone},
		"never any more":                    {Watch{StopsAt: at(60)}, 0, 50, IdlePostpone},
		"for ever":                          {Watch{}, 0, 5000, IdleNothing},
		"decided, and used after":           {Watch{StopsAt: at(60), Decided: true}, 130, 70, IdleStop},
	} {
		if got := tc.w.Next(Deadline{At: after(tc.deadline)}, tc.deadline > 0, warning, after(tc.now)); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestCPUAboveTheThresholdIsUse(t *testing.T) {
	t.Parallel()
	type look struct {
		seconds float64
		at      int
		used    bool
	}
	for name, tc := range map[string]struct {
		threshold float64
		looks     []look
	}{
		"a build":                {0.5, []look{{10, 0, false}, {18, 15, true}}},
		"a little":               {0.5, []look{{10, 0, false}, {12, 15, false}}},
		"not asked for":          {0, []look{{10, 0, false}, {25, 15, false}}},
		"too short to say":       {0.5, []look{{10, 0, false}, {12, 2, false}, {18, 15, true}}},
		"its counter began anew": {0.5, []look{{10, 0, false}, {9, 15, false}, {19, 30, true}}},
		"not known":              {0.5, []look{{0, 0, false}, {0, 15, false}}},
	} {
		var w Watch
		for _, l := range tc.looks {
			w.Used = nil
			w.SeeCPU(l.seconds, tc.threshold, after(l.at))
			if got := w.Used != nil; got != l.used {
				t.Errorf("%s: at %d s in use %t, want %t", name, l.at, got, l.used)
			}
		}
	}
}
