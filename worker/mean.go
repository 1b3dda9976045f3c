package worker

import (
	"time"

	"berth/internal/ide"
	"berth/internal/store"
)

// mean gathers the samples of one step of a history.
type mean struct {
	step  time.Duration
	begin time.Time
	sum   ide.Sample
	n     float64
}

// add takes a sample. When the sample is the first of the next step it returns
// the mean of the one that is over.
func (m *mean) add(x ide.Sample) (over ide.Sample, ok bool) {
	begin := x.At.Truncate(m.step)
	if m.n > 0 && !begin.Equal(m.begin) {
		over, ok = m.mean(), true
		*m = mean{step: m.step}
	}
	m.begin = begin
	m.n++
	s := &m.sum
	s.CPU += x.CPU
	s.Memory += x.Memory
	s.Disk += x.Disk
	s.Load += x.Load
	s.NetIn += x.NetIn
	s.NetOut += x.NetOut
	s.Block += x.Block
	s.Stall.CPU += x.Stall.CPU
	s.Stall.Memory += x.Stall.Memory
	s.Stall.IO += x.Stall.IO
	return over, ok
}

func (m *mean) mean() ide.Sample {
	s, n := m.sum, m.n
	return ide.Sample{At: m.begin, CPU: s.CPU / n, Memory: s.Memory / n, Disk: s.Disk / n, Load: s.Load / n, NetIn: s.NetIn / n, NetOut: s.NetOut / n, Block: s.Block / n,
		Stall: ide.Stall{CPU: s.Stall.CPU / n, Memory: s.Stall.Memory / n, IO: s.Stall.IO / n}}
}

// history is what a worker writes of one node or container: its samples as
// they come, and their means in the longer steps.
type history struct {
	id    string
	known bool // something was written; the history has its whole length
	steps []mean
}

func newHistory(id string) *history {
	h := &history{id: id}
	for _, step := range store.Steps()[1:] {
		h.steps = append(h.steps, mean{step: step})
	}
	return h
}

// add returns what is to be written for a sample; minute is the mean of the
// minute that has ended with it, if one has.
func (h *history) add(x ide.Sample) (past []store.Past, minute *ide.Sample) {
	past = append(past, store.Past{ID: h.id, Step: store.Steps()[0], First: !h.known, Sample: x})
	for i := range h.steps {
		over, ok := h.steps[i].add(x)
		if !ok {
			continue
		}
		past = append(past, store.Past{ID: h.id, Step: h.steps[i].step, Sample: over})
		if h.steps[i].step == time.Minute {
			minute = &over
		}
	}
	return past, minute
}
