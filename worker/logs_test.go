package worker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/store"

	"github.com/google/go-cmp/cmp"
)

// ships lets a worker do nothing but ship logs until stop is called.
func (b *bench) ships(rate int) (stop func()) {
	b.Helper()
	w := b.worker(Config{LogRate: rate})
	node := b.engine.NodeID()
	w.node.id.Store(&node)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); newLogShip(w).Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	b.Cleanup(stop)
	return stop
}

// printing starts a container, with a record, that runs.
func (b *bench) printing() ide.Container {
	b.Helper()
	c := ide.Container{ID: ide.NewID(), Run: 1, Owner: "alice", Status: ide.Starting, Image: "berth/ide:slim", CreatedAt: time.Now().UTC(),
		Resources: ide.Resources{MemoryLimit: 64 << 20}}
	b.must(b.rdb.HSet(b.Context(), "{berth}:c:"+c.ID, "doc", "{}").Err())
	b.must(b.deps.Swarm.EnsureNetwork(b.Context()))
	secret, err := b.deps.Swarm.PutSecret(b.Context(), c.ID, 1, []byte("{}"))
	b.must(err)
	b.must(b.deps.Swarm.CreateService(b.Context(), c, secret))
	_, err = b.deps.Swarm.WaitRunning(b.Context(), c, nil)
	b.must(err)
	return c
}

// texts are a container's lines that were shipped, but for its first.
func (b *bench) texts(f store.LogFilter) []string {
	b.Helper()
	lines, _, err := b.st.LogTail(b.Context(), f, 100_000)
	b.must(err)
	var texts []string
	for _, l := range lines {
		if l.Text != "begins" {
			texts = append(texts, l.Text)
		}
	}
	return texts
}

// prints has a container print the lines from one number to another, a
// millisecond from each other from an instant on, and returns their texts.
func (b *bench) prints(c ide.Container, at time.Time, from, to int) (texts []string) {
	for i := from; i < to; i++ {
		text := fmt.Sprintf("line %d", i)
		b.engine.Print(c.ServiceName(), at.Add(time.Duration(i)*time.Millisecond), false, text+"\n")
		texts = append(texts, text)
	}
	return texts
}

func TestLinesArriveInOrderAndOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.printing()
	at := time.Now().UTC()
	only := store.LogFilter{Container: c.ID}
	want := b.prints(c, at, 0, 700)
	stop := b.ships(0)
	b.until("all lines are shipped", func() bool { return len(b.texts(only)) >= 700 })
	stop()
	// three lines of one instant, of which the next worker finds two shipped
	same := at.Add(time.Second)
	b.engine.Print(c.ServiceName(), same, false, "same 1\nsame 2\n")
	stop = b.ships(0)
	b.until("lines printed meanwhile are shipped", func() bool { return len(b.texts(only)) >= 702 })
	stop()
	b.engine.Print(c.ServiceName(), same, false, "same 3\n")
	want = append(want, "same 1", "same 2", "same 3")
	want = append(want, b.prints(c, at, 1001, 1300)...)
	b.ships(0)
	b.until("the last line is shipped", func() bool { got := b.texts(only); return len(got) > 0 && got[len(got)-1] == "line 1299" })
	if diff := cmp.Diff(want, b.texts(only)); diff != "" {
		t.Errorf("its own stream (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, b.texts(store.LogFilter{Node: b.engine.NodeID()})); diff != "" {
		t.Errorf("the stream of all (-want +got):\n%s", diff)
	}
}

func TestLinesOfTwoWorkersOnOneNodeComeOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.printing()
	b.ships(0)
	b.ships(0)
	want := b.prints(c, time.Now(), 0, 500)
	only := store.LogFilter{Container: c.ID}
	b.until("the last line is shipped", func() bool { got := b.texts(only); return len(got) > 0 && got[len(got)-1] == "line 499" })
	want = append(want, b.prints(c, time.Now().Add(time.Second), 500, 600)...)
	b.until("the very last line is shipped", func() bool { got := b.texts(only); return len(got) > 0 && got[len(got)-1] == "line 599" })
	if diff := cmp.Diff(want, b.texts(only)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLogsGoOnWhenTheEngineOrRedisWasAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.printing()
	b.ships(0)
	at := time.Now()
	only := store.LogFilter{Container: c.ID}
	want := b.prints(c, at, 0, 10)
	b.until("it is followed", func() bool { return len(b.texts(only)) == 10 })
	b.engine.Down()
	want = append(want, b.prints(c, at, 10, 20)...)
	b.engine.Up()
	b.until("what was printed without the engine is shipped", func() bool { return len(b.texts(only)) >= 20 })

	b.must(b.rdb.FlushAll(t.Context()).Err())
	b.must(b.rdb.HSet(t.Context(), "{berth}:c:"+c.ID, "doc", "{}").Err())
	want = append(want, b.prints(c, at, 20, 30)...)
	b.until("what Redis has lost is shipped again", func() bool { return len(b.texts(only)) >= 30 })
	if diff := cmp.Diff(want, b.texts(only)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAContainerThatPrintsTooMuchIsCapped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, quiet := b.printing(), b.printing()
	b.ships(20) // 100 at once
	at := time.Now()
	b.prints(c, at, 0, 500) // in half a second, of which 20 a second more may pass
	b.engine.Print(quiet.ServiceName(), at, true, "as always\n")
	var notice ide.LogLine
	passed := 0
	b.until("it is said how many were dropped", func() bool {
		lines, _, err := b.st.LogTail(t.Context(), store.LogFilter{Container: c.ID}, 10_000)
		b.must(err)
		passed = 0
		for _, l := range lines {
			if l.Source == ide.SourceWorker {
				notice = l
			} else if strings.HasPrefix(l.Text, "line") {
				passed++
			}
		}
		return notice.Text != ""
	})
	if want := fmt.Sprintf("%d lines were dropped: a container may print 20 a second", 500-passed); passed < 100 || passed > 120 || notice.Text != want || notice.Level != ide.LevelWarn {
		t.Errorf("%d lines passed, and it says %+v, want 100 to 120, and %q", passed, notice, want)
	}
	if got := b.texts(store.LogFilter{Container: quiet.ID}); !cmp.Equal(got, []string{"as always"}) {
		t.Errorf("its neighbour's lines are %q", got)
	}
}

func TestOddLines(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.printing()
	at := time.Now().UTC().Add(time.Second)
	long := strings.Repeat("x", 40<<10)
	b.engine.Print(c.ServiceName(), at, false, long+"\n")
	b.engine.Print(c.ServiceName(), at.Add(1), true, "level=warn \xff\n")
	stop := b.ships(0)
	f := store.LogFilter{Container: c.ID, Since: at}
	var lines []ide.LogLine
	b.until("both are shipped", func() (ok bool) {
		var err error
		lines, _, err = b.st.LogTail(t.Context(), f, 10)
		b.must(err)
		return len(lines) == 2
	})
	if l := lines[0]; len(l.Text) != ide.MaxLogLine || !strings.HasSuffix(l.Text, "[cut]") || l.Level != ide.LevelInfo || l.Source != ide.SourceStdout {
		t.Errorf("got %d bytes of %s", len(l.Text), l.Source)
	}
	if l := lines[1]; l.Text != "level=warn \uFFFD" || l.Level != ide.LevelWarn || l.Source != ide.SourceStderr || l.Node != b.engine.NodeID() || !l.At.Equal(at.Add(1)) {
		t.Errorf("got %+v", l)
	}
	stop()
	b.ships(0) // begins in the middle of what one instant has
	b.engine.Print(c.ServiceName(), at.Add(2), false, "last\n")
	b.until("the next is shipped", func() bool { got := b.texts(f); return len(got) == 3 && got[2] == "last" })
}

// TestTenContainersFloodRedisBoundedly: ten containers print 500 lines a second
// each, which is what one may, for far longer than is kept.
func TestTenContainersFloodRedisBoundedly(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const containers, lines = 10, 3000
	b.st = store.New(b.rdb, store.Config{LogLines: 5000, ContainerLines: 500})
	b.deps.Store = b.st
	var all []ide.Container
	for range containers {
		all = append(all, b.printing())
	}
	b.ships(500)
	at, began := time.Now(), time.Now()
	filler := strings.Repeat("x", 120)
	for i := range lines {
		for _, c := range all {
			b.engine.Print(c.ServiceName(), at.Add(time.Duration(i)*2*time.Millisecond), false, fmt.Sprintf("line %d %s\n", i, filler))
		}
	}
	for _, c := range all {
		b.until("the last line is shipped", func() bool {
			tail, _, err := b.st.LogTail(t.Context(), store.LogFilter{Container: c.ID}, 1)
			b.must(err)
			return len(tail) == 1 && strings.HasPrefix(tail[0].Text, fmt.Sprintf("line %d ", lines-1))
		})
	}
	took := time.Since(began)
	added, err := b.rdb.XInfoStream(t.Context(), "{berth}:logs").Result()
	b.must(err)
	if added.EntriesAdded != containers*(lines+1) {
		t.Errorf("%d lines were shipped, want all %d", added.EntriesAdded, containers*(lines+1))
	}
	own, err := b.rdb.XLen(t.Context(), "{berth}:c:"+all[0].ID+":log").Result()
	b.must(err)
	if added.Length > 5600 || own > 1100 { // whole nodes of 100 entries go, after each shipment
		t.Errorf("%d lines are kept of all and %d of one, want some 5000 and 500", added.Length, own)
	}
	used, err := b.rdb.MemoryUsage(t.Context(), "{berth}:logs").Result()
	b.must(err)
	t.Logf("%d lines in %s, %.0f a second; %d lines are kept in %d bytes", added.EntriesAdded, took.Round(time.Millisecond), float64(added.EntriesAdded)/took.Seconds(), added.Length, used)
	if used > 5600*512 {
		t.Errorf("%d bytes are kept", used)
	}
}
