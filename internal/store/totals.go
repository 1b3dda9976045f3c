package store

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// Totals is how much there is of everything, and what jobs have come to since
// Redis began.
type Totals struct {
	Containers map[ide.Status]int
	Open       map[ide.JobStatus]int
	Waited     time.Duration // by the oldest of the queued jobs, by Redis's clock
	Tallies    []Tally
}

// The kinds of Tally.
const (
	JobsEnded = "ended" // Name is the outcome
	JobTime   = "job"
	StepTime  = "step" // Name is the step
)

// Tally is a count of one kind of thing. Those of times have a sum and a
// histogram.
type Tally struct {
	Kind     string
	Function string
	Name     string
	Count    uint64
	Seconds  float64
	Within   map[float64]uint64 // how many took at most so many seconds
}

// bounds are the upper ends of the histograms, in seconds. One may be added;
// what was counted before stays where it was.
var bounds = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}

// tally returns what a job that has ended adds to the hash of that name, as
// fields and amounts. A field is kind, function, name and bound, by blanks; a
// time also adds its milliseconds, under "ms". Functions and steps are named
// in the code, so there is a bounded number of fields.
func tally(j ide.Job) []any {
	sums := map[string]int64{}
	timed := func(kind, name string, seconds float64) {
		field := kind + " " + j.Function + " " + name + " "
		sums[field+bound(seconds)]++
		sums[field+"ms"] += int64(math.Round(seconds * 1000))
	}
	sums[JobsEnded+" "+j.Function+" "+string(j.Status)+" "]++
	if j.FinishedAt != nil {
		timed(JobTime, "", j.FinishedAt.Sub(j.QueuedAt).Seconds())
	}
	for _, s := range j.Steps {
		if s.Status != ide.StepRunning {
			timed(StepTime, s.Name, s.Seconds)
		}
	}
	var pairs []any
	for field, n := range sums {
		pairs = append(pairs, field, n)
	}
	return pairs
}

// bound is the text of the smallest bound that is not below a time.
func bound(seconds float64) string {
	i, _ := slices.BinarySearch(bounds, seconds)
	if i == len(bounds) {
		return "inf"
	}
	return strconv.FormatFloat(bounds[i], 'f', -1, 64)
}

// Totals counts. It costs the same however many containers and jobs there
// are.
func (s *Store) Totals(ctx context.Context) (Totals, error) {
	c := Totals{Containers: map[ide.Status]int{}, Open: map[ide.JobStatus]int{}}
	containers, open := map[ide.Status]*redis.IntCmd{}, map[ide.JobStatus]*redis.IntCmd{}
	var fields *redis.MapStringStringCmd
	var now *redis.TimeCmd
	var oldest *redis.ZSliceCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, st := range ide.Statuses() {
			containers[st] = p.ZCard(ctx, indexKey("cs", "", string(st)))
		}
		for _, st := range ide.JobStatuses() {
			if !st.Ended() {
				open[st] = p.ZCard(ctx, indexKey("js", "", string(st)))
			}
		}
		fields = p.HGetAll(ctx, tallyKey)
		now, oldest = p.Time(ctx), p.ZRangeWithScores(ctx, indexKey("js", "", string(ide.JobQueued)), 0, 0)
		return nil
	})
	if err != nil {
		return c, down(err)
	}
	for st, n := range containers {
		c.Containers[st] = int(n.Val())
	}
	for st, n := range open {
		c.Open[st] = int(n.Val())
	}
	if first := oldest.Val(); len(first) > 0 {
		c.Waited = max(0, now.Val().Sub(time.UnixMilli(int64(first[0].Score))))
	}
	c.Tallies = tallies(fields.Val())
	return c, nil
}

// tallies puts the fields of the hash together.
func tallies(fields map[string]string) []Tally {
	all := map[[3]string]*Tally{}
	for field, text := range fields {
		parts := strings.SplitN(field, " ", 4)
		n, err := strconv.ParseUint(text, 10, 64)
		if len(parts) != 4 || err != nil {
			continue
		}
		id := [3]string(parts[:3])
		t := all[id]
		if t == nil {
			t = &Tally{Kind: id[0], Function: id[1], Name: id[2], Within: map[float64]uint64{}}
			all[id] = t
		}
		if parts[3] == "ms" {
			t.Seconds = float64(n) / 1000
			continue
		}
		t.Count += n
		if t.Kind == JobsEnded {
			continue
		}
		end, err := strconv.ParseFloat(parts[3], 64) // "inf" is above all
		for _, b := range bounds {
			t.Within[b] += 0
			if err == nil && b >= end {
				t.Within[b] += n
			}
		}
	}
	list := make([]Tally, 0, len(all))
	for _, t := range all {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Function, b.Function), cmp.Compare(a.Name, b.Name))
	})
	return list
}
