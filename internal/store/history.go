package store

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// A history is one string of fixed length: one ring of samples for each step,
// one behind the other. A sample stands at its number since 1970 modulo the
// ring's length, and begins with the number itself, so that one of an earlier
// round is not taken for one of this. So a history takes the same memory
// whatever happens, is written in place, and a reader asks for the part that
// it needs.

// ring is the samples of one step.
type ring struct {
	step   time.Duration
	length int64 // samples
	offset int64 // bytes before it
}

// form is how a kind of history is laid out.
type form struct {
	rings  []ring
	size   int64 // bytes of a sample
	length int64 // bytes of all rings
	encode func([]byte, ide.Sample)
	decode func([]byte) ide.Sample
}

// The two kinds. Those of nodes reach back a day in every step, those of
// containers, of which there are a hundred times as many, in the longest.
var (
	nodeForm = newForm(16, encodeNode, decodeNode,
		ring{step: 10 * time.Second, length: 8640}, ring{step: time.Minute, length: 1440}, ring{step: 15 * time.Minute, length: 96})
	containerForm = newForm(12, encodeContainer, decodeContainerSample,
		ring{step: 10 * time.Second, length: 120}, ring{step: time.Minute, length: 360}, ring{step: 15 * time.Minute, length: 96})
)

func newForm(size int64, encode func([]byte, ide.Sample), decode func([]byte) ide.Sample, rings ...ring) form {
	f := form{size: size, encode: encode, decode: decode}
	for _, r := range rings {
		r.offset = f.length
		f.rings = append(f.rings, r)
		f.length += r.length * size
	}
	return f
}

// Steps are the steps that histories are kept in.
func Steps() []time.Duration {
	var steps []time.Duration
	for _, r := range nodeForm.rings {
		steps = append(steps, r.step)
	}
	return steps
}

// number is the place of a time in the sequence of all samples of a step.
func (r ring) number(at time.Time) int64 { return at.Unix() / int64(r.step/time.Second) }

// stamp is what a sample begins with: its number, in two bytes, never 0, which
// is what was never written has.
func stamp(number int64) uint16 { return uint16(number%math.MaxUint16) + 1 }

// ring returns the one with a step, or nil.
func (f form) ring(step time.Duration) *ring {
	i := slices.IndexFunc(f.rings, func(r ring) bool { return r.step == step })
	if i < 0 {
		return nil
	}
	return &f.rings[i]
}

// write adds to a pipeline the writing of one sample.
func (f form) write(ctx context.Context, p redis.Pipeliner, key string, x Past) {
	r := f.ring(x.Step)
	n := r.number(x.At)
	b := make([]byte, f.size)
	binary.LittleEndian.PutUint16(b, stamp(n))
	f.encode(b[2:], x.Sample)
	if x.First { // the byte after the last ring: a string that grows bit by bit takes up to twice its length
		p.SetRange(ctx, key, f.length, "\x01")
	}
	p.SetRange(ctx, key, r.offset+n%r.length*f.size, string(b))
	if x.First || x.Step > f.rings[0].step {
		p.Expire(ctx, key, useKept)
	}
}

// Past is a sample on its way into a history.
type Past struct {
	ID    string
	Step  time.Duration
	First bool // that its worker knows of; the history may have to be made
	ide.Sample
}

// KeepPast writes samples of a node and of its containers into their
// histories. Doing it again changes nothing.
func (s *Store) KeepPast(ctx context.Context, node []Past, containers []Past) error {
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, x := range node {
			nodeForm.write(ctx, p, nodePastKey(x.ID), x)
		}
		for _, x := range containers {
			containerForm.write(ctx, p, containerPastKey(x.ID), x)
		}
		return nil
	})
	return down(err)
}

// NodePast returns the history of each of some nodes between two times, oldest
// first; a time without a report has no sample. step is one of Steps.
func (s *Store) NodePast(ctx context.Context, from, to time.Time, step time.Duration, nodes ...string) ([][]ide.Sample, error) {
	return s.past(ctx, nodeForm, nodePastKey, from, to, step, nodes)
}

// ContainerPast is NodePast of a container.
func (s *Store) ContainerPast(ctx context.Context, from, to time.Time, step time.Duration, id string) ([]ide.Sample, error) {
	all, err := s.past(ctx, containerForm, containerPastKey, from, to, step, []string{id})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

func (s *Store) past(ctx context.Context, f form, key func(string) string, from, to time.Time, step time.Duration, ids []string) ([][]ide.Sample, error) {
	r := f.ring(step)
	last := r.number(to)
	first := max(r.number(from), last-r.length+1)
	parts := make([][2]*redis.StringCmd, len(ids))
	a, b := first%r.length, last%r.length
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		get := func(id string, a, b int64) *redis.StringCmd {
			return p.GetRange(ctx, key(id), r.offset+a*f.size, r.offset+(b+1)*f.size-1)
		}
		for i, id := range ids {
			if a <= b {
				parts[i][0] = get(id, a, b)
			} else { // around the end
				parts[i] = [2]*redis.StringCmd{get(id, a, r.length-1), get(id, 0, b)}
			}
		}
		return nil
	})
	if err != nil {
		return nil, down(err)
	}
	all := make([][]ide.Sample, len(ids))
	for i, part := range parts {
		all[i] = []ide.Sample{}
		n := first
		for k, cmd := range part {
			if cmd == nil {
				continue
			}
			if k == 1 {
				n = first + r.length - a
			}
			for text := []byte(cmd.Val()); int64(len(text)) >= f.size; text, n = text[f.size:], n+1 {
				if binary.LittleEndian.Uint16(text) != stamp(n) {
					continue
				}
				x := f.decode(text[2:f.size])
				x.At = time.Unix(n*int64(step/time.Second), 0).UTC()
				all[i] = append(all[i], x)
			}
		}
	}
	return all, nil
}

// encodeNode writes 14 bytes: CPU and memory in hundredths of a percent, disk in
// half percents, the load in hundredths, two rates, and three stalls in
// half percents.
func encodeNode(b []byte, x ide.Sample) {
	u16 := binary.LittleEndian.PutUint16
	u16(b, fixed(x.CPU))
	u16(b[2:], fixed(x.Memory))
	u16(b[4:], fixed(x.Load))
	u16(b[6:], rate(x.NetIn))
	u16(b[8:], rate(x.NetOut))
	for i, v := range []float64{x.Disk, x.Stall.CPU, x.Stall.Memory, x.Stall.IO} {
		b[10+i] = byte(min(math.Round(max(v, 0)*2), math.MaxUint8))
	}
}

func decodeNode(b []byte) ide.Sample {
	u16 := binary.LittleEndian.Uint16
	half := func(i int) float64 { return float64(b[i]) / 2 }
	return ide.Sample{CPU: unfixed(u16(b)), Memory: unfixed(u16(b[2:])), Load: unfixed(u16(b[4:])), NetIn: unrate(u16(b[6:])), NetOut: unrate(u16(b[8:])),
		Disk: half(10), Stall: ide.Stall{CPU: half(11), Memory: half(12), IO: half(13)}}
}

// encodeContainer writes 10 bytes: CPU and memory in hundredths of a percent,
// and three rates.
func encodeContainer(b []byte, x ide.Sample) {
	u16 := binary.LittleEndian.PutUint16
	u16(b, fixed(x.CPU))
	u16(b[2:], fixed(x.Memory))
	u16(b[4:], rate(x.NetIn))
	u16(b[6:], rate(x.NetOut))
	u16(b[8:], rate(x.Block))
}

func decodeContainerSample(b []byte) ide.Sample {
	u16 := binary.LittleEndian.Uint16
	return ide.Sample{CPU: unfixed(u16(b)), Memory: unfixed(u16(b[2:])), NetIn: unrate(u16(b[4:])), NetOut: unrate(u16(b[6:])), Block: unrate(u16(b[8:]))}
}

// fixed is a number up to 655 in hundredths.
func fixed(v float64) uint16 { return uint16(min(math.Round(max(v, 0)*100), math.MaxUint16)) }

func unfixed(v uint16) float64 { return float64(v) / 100 }

// rate is the logarithm of a rate: 1 in 1,000 exact up to 10^28.
func rate(v float64) uint16 {
	return uint16(min(math.Round(math.Log1p(max(v, 0))*1000), math.MaxUint16))
}

func unrate(v uint16) float64 { return math.Round(math.Expm1(float64(v) / 1000)) }
