package sim

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/functions"
)

// field returns a value of Redis's INFO.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// called is how often Redis was given a command, and the microseconds of CPU
// that this took it.
type called struct{ calls, usec int }

func (f *fleet) commands() map[string]called {
	f.Helper()
	info, err := f.rdb.Info(f.Context(), "commandstats").Result()
	f.must(err)
	all := map[string]called{}
	for line := range strings.Lines(info) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "cmdstat_"), ":")
		var c called
		if n, _ := fmt.Sscanf(rest, "calls=%d,usec=%d", &c.calls, &c.usec); ok && n == 2 {
			all[name] = c
		}
	}
	return all
}

func (f *fleet) commandTable(out *strings.Builder, before, after map[string]called, real time.Duration) {
	type row struct {
		name       string
		calls, cpu float64 // a second; percent of a core
	}
	var rows []row
	for name, a := range after {
		b := before[name]
		rows = append(rows, row{name, float64(a.calls-b.calls) / real.Seconds(), float64(a.usec-b.usec) / 1e4 / real.Seconds()})
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(b.cpu, a.cpu) })
	sum := row{name: "all, with those in scripts"}
	for _, r := range rows {
		sum.calls += r.calls
	}
	fmt.Fprintf(out, "%-28s %8.0f a second\n", sum.name, sum.calls)
	for _, r := range rows[:min(10, len(rows))] {
		fmt.Fprintf(out, "  %-26s %8.0f a second, %4.1f %% of a core\n", r.name, r.calls, r.cpu)
	}
}

// memoryTable prints the mean of MEMORY USAGE of the keys of each kind.
func (f *fleet) memoryTable(out *strings.Builder) {
	ctx := f.Context()
	type sum struct{ n, bytes int64 }
	kinds := map[string]*sum{}
	const most = 500 // of a kind are asked about
	iter := f.rdb.Scan(ctx, 0, "*", 1000).Iterator()
	for iter.Next(ctx) {
		parts := strings.Split(strings.TrimPrefix(iter.Val(), "{berth}:"), ":")
		kind := parts[0]
		switch {
		case len(parts) == 3:
			kind += ":_:" + parts[2]
		case len(parts) == 2 && len(parts[1]) > 12:
			kind += ":_"
		}
		if parts[0] == "past" && len(parts) == 3 {
			kind = "past:" + parts[1]
		}
		s := kinds[kind]
		if s == nil {
			s = &sum{}
			kinds[kind] = s
		}
		s.n++
		if s.n <= most {
			b, _ := f.rdb.MemoryUsage(ctx, iter.Val(), 0).Result()
			s.bytes += b
		}
	}
	f.must(iter.Err())
	var names []string
	for k, s := range kinds {
		if s.bytes/min(s.n, most)*s.n > 100_000 {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	for _, k := range names {
		s := kinds[k]
		mean := s.bytes / min(s.n, most)
		fmt.Fprintf(out, "  %-26s %8d keys of %7d bytes, %4d MiB\n", k, s.n, mean, mean*s.n>>20)
	}
}

// sweepTable prints how long the sweeps over all containers take.
func (f *fleet) sweepTable(out *strings.Builder) {
	for _, name := range []string{functions.SweepProbe.Name, functions.SweepIdle.Name, functions.SweepReconcile.Name} {
		j, ok, err := f.deps.Store.LastJob(f.Context(), name)
		f.must(err)
		switch {
		case !ok:
		case j.FinishedAt == nil:
			fmt.Fprintf(out, "%-28s since %.1f s, not ended\n", name, time.Since(j.QueuedAt).Seconds())
		default:
			fmt.Fprintf(out, "%-28s %.1f s, %v\n", name, j.FinishedAt.Sub(j.QueuedAt).Seconds(), j.Result)
		}
	}
}

// cpuOf is the CPU that a process has used; resident is its memory in bytes.
func cpuOf(pid int) (sum time.Duration) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	for _, i := range []int{11, 12} { // utime, stime, in hundredths of a second
		if i < len(fields) {
			ticks, _ := strconv.Atoi(fields[i])
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}

func resident(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
