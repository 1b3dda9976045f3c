package store

import (
	"testing"

	"berth/internal/ide"
)

// A tally is taken apart as it was put together, whatever else stands in the
// hash.
func TestTallyAddsUp(t *testing.T) {
	t.Parallel()
	add := map[string]string{}
	j := ide.Job{Function: "f", Status: ide.JobSucceeded, Steps: []ide.Step{
		{Name: "a", Status: ide.StepDone, Seconds: 0.05}, {Name: "a", Status: ide.StepFailed, Seconds: 0.06}, {Name: "a", Status: ide.StepDone, Seconds: 301},
		{Name: "b", Status: ide.StepRunning}}}
	pairs := tally(j)
	for i := 0; i < len(pairs); i += 2 {
		add[pairs[i].(string)] = map[int64]string{1: "1", 301110: "301110"}[pairs[i+1].(int64)]
	}
	add["torn"], add["step f a 9999"], add["step f c x"] = "1", "1", "no number"
	list := tallies(add)
	if len(list) != 2 || list[0].Kind != JobsEnded || list[0].Name != "succeeded" || list[0].Count != 1 {
		t.Fatalf("got %+v", list)
	}
	a := list[1]
	if a.Count != 4 || a.Seconds != 301.11 || a.Within[0.05] != 1 || a.Within[0.1] != 2 || a.Within[300] != 2 {
		t.Errorf("got %+v", a)
	}
}
