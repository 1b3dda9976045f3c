package swarmtest

import (
	"context"
	"errors"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"

	"github.com/google/go-cmp/cmp"
)

// logs follows a container from its beginning to its end, and from an instant
// in its life.
func (b *bench) logs() {
	rec := b.container(b.env.Image)
	b.start(rec)
	task, err := b.c.WaitRunning(b.ctx, rec, nil)
	b.must(err)
	local := func() (swarm.LocalContainer, bool) {
		list, err := b.c.LocalContainers(b.ctx)
		b.must(err)
		i := slices.IndexFunc(list, func(l swarm.LocalContainer) bool { return l.Container == rec.ID })
		if i < 0 {
			return swarm.LocalContainer{}, false
		}
		return list[i], true
	}
	one, found := local()
	if !found || one.Run != 1 || one.Ended || one.EngineID == "" || one.Address != task.Address {
		b.Fatalf("the container is listed as %+v, %t", one, found)
	}

	lines, over := make(chan ide.LogLine, 10), make(chan error, 1)
	go func() {
		over <- b.c.FollowLogs(b.ctx, one.EngineID, time.Time{}, func(l ide.LogLine) error { lines <- l; return nil })
	}()
	next := func() ide.LogLine {
		select {
		case l := <-lines:
			return l
		case err := <-over:
			b.Fatalf("the log ended too soon: %v", err)
		case <-b.ctx.Done():
			b.Fatal("no line came")
		}
		return ide.LogLine{}
	}
	first := next()
	want := ide.LogLine{At: first.At, Source: ide.SourceStderr, Text: "begins"}
	if diff := cmp.Diff(want, first); diff != "" || time.Since(first.At).Abs() > 5*time.Minute {
		b.Errorf("first line, of %v (-want +got):\n%s", first.At, diff)
	}

	// from an instant on, that instant included
	for since, want := range map[time.Time]int{first.At: 1, first.At.Add(time.Nanosecond): 0} {
		ctx, cancel := context.WithTimeout(b.ctx, time.Second)
		seen := 0
		err := b.c.FollowLogs(ctx, one.EngineID, since, func(ide.LogLine) error { seen++; return errors.New("enough") })
		cancel()
		if err == nil || seen != want {
			b.Errorf("since %v after the first line: got %d lines, %v, want %d and an error", since.Sub(first.At), seen, err, want)
		}
	}

	b.must(b.c.RemoveService(b.ctx, rec.ID, 1))
	if last := next(); last.Text != "ends with code 0" || !last.At.After(first.At) {
		b.Errorf("last line: %+v", last)
	}
	select {
	case err := <-over:
		b.must(err)
	case <-b.ctx.Done():
		b.Fatal("the log of a container that ended does not end")
	}
	b.must(b.c.WaitGone(b.ctx, rec.ID, 1))
	b.until("the container is not listed as running any more", func() bool {
		one, found = local()
		return !found || one.Ended
	})
	if err := b.c.FollowLogs(b.ctx, one.EngineID+"0", time.Time{}, func(ide.LogLine) error { return nil }); err == nil {
		b.Error("the log of a container that there is not is no error")
	}
}
