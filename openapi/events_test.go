package openapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/redistest"
	"berth/internal/store"
	"berth/queue"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

const (
	streamAdmin = "stream-admin-stream-admin-stream-admin"
	streamAlice = "stream-alice-stream-alice-stream-alice"
)

// streaming is an API with one node's room and a feed that follows.
func streaming(t *testing.T) (*store.Store, *httptest.Server, chan struct{}) {
	t.Helper()
	st, srv, draining := unfed(t)
	feed(t, st)
	return st, srv, draining
}

// feed has the streams hear of events.
func feed(t *testing.T, st *store.Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); st.Follow(ctx, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() { cancel(); <-done })
}

// unfed is the same without a feed.
func unfed(t *testing.T) (*store.Store, *httptest.Server, chan struct{}) {
	t.Helper()
	rdb := redistest.New(t)
	st := store.New(rdb, store.Config{})
	log := slog.New(slog.DiscardHandler)
	if err := st.PublishNodes(t.Context(), []ide.Node{{ID: "n1", CPU: 64e9, Memory: 64 << 30, State: "ready", Availability: "active", Filtered: true, At: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	draining := make(chan struct{})
	srv := httptest.NewServer(New(&functions.Deps{Store: st, Log: log, Queue: queue.New(rdb).Within(time.Minute), Settings: functions.Settings{Templates: []ide.Template{{Name: "default", Image: "ide:1"}}, MaxPerKey: 3,
		Resources: ide.Resources{CPUReservation: 1e9, MemoryReservation: 1 << 30, CPULimit: 2e9, MemoryLimit: 4 << 30}}}, Config{Draining: draining,
		Keys: []Key{{Name: "root", Role: ide.Admin, Secret: streamAdmin}, {Name: "alice", Role: ide.Client, Secret: streamAlice}}}))
	t.Cleanup(srv.Close)
	return st, srv, draining
}

// happen admits a container of an owner, which is one event.
func happen(t *testing.T, st *store.Store, owner string) string {
	t.Helper()
	id := ide.NewID()
	_, err := st.Admit(t.Context(), store.Admission{Function: "container-create", MaxAttempts: 1, By: ide.Principal{Name: owner}, Args: map[string]string{"id": id},
		New: &ide.Container{ID: id, Run: 1, Owner: owner, Status: ide.Starting, CreatedAt: time.Now().UTC()}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// listen opens a stream and returns its events.
func listen(t *testing.T, srv *httptest.Server, key, query, last string) <-chan EventAnswer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/api/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %s, %s", res.Status, res.Header.Get("Content-Type"))
	}
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), ":") {
		t.Fatalf("the stream begins with %q, want a comment", lines.Text())
	}
	events := make(chan EventAnswer, 100)
	go func() {
		defer close(events)
		defer res.Body.Close()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var e EventAnswer
				if json.Unmarshal([]byte(data), &e) == nil {
					events <- e
				}
			}
		}
	}()
	return events
}

func next(t *testing.T, events <-chan EventAnswer) EventAnswer {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the stream ended")
		}
		return e
	case <-time.After(time.Minute):
		t.Fatal("no event came")
	}
	return EventAnswer{}
}

func TestStreamShowsEachKeyItsOwn(t *testing.T) {
	t.Parallel()
	st, srv, _ := streaming(t)
	all, own := listen(t, srv, streamAdmin, "", "0-0"), listen(t, srv, streamAlice, "", "0-0")
	want := []string{happen(t, st, "bob"), happen(t, st, "alice")}
	if got := []string{next(t, all).Container, next(t, all).Container}; !cmp.Equal(got, want) {
		t.Errorf("the admin got events of %v, want %v", got, want)
	}
	if got := next(t, own).Container; got != want[1] {
		t.Errorf("alice got an event of %q, want her own, %q", got, want[1])
	}
}

func TestStreamGoesOnWhereItWasCut(t *testing.T) {
	t.Parallel()
	st, srv, _ := streaming(t)
	first := happen(t, st, "alice")
	e := next(t, listen(t, srv, streamAdmin, "", "0-0"))
	if e.Container != first {
		t.Fatalf("got %+v", e)
	}
	second := happen(t, st, "alice")
	again := listen(t, srv, streamAdmin, "", e.ID)
	if got := next(t, again).Container; got != second {
		t.Errorf("got %q, want the one that was missed, %q", got, second)
	}
	third := happen(t, st, "alice")
	if got := next(t, again).Container; got != third {
		t.Errorf("got %q, want the new one, %q, and nothing twice", got, third)
	}
}

// A process takes requests before its feed has found its place: nothing of the
// time between is lost.
func TestStreamIsOlderThanTheFeed(t *testing.T) {
	t.Parallel()
	st, srv, _ := unfed(t)
	happen(t, st, "alice")
	fresh, resumed := listen(t, srv, streamAdmin, "", ""), listen(t, srv, streamAdmin, "", "0-0")
	next(t, resumed)
	id := happen(t, st, "alice")
	feed(t, st)
	for name, events := range map[string]<-chan EventAnswer{"fresh": fresh, "resumed": resumed} {
		if got := next(t, events).Container; got != id {
			t.Errorf("the %s stream got %q, want %q", name, got, id)
		}
	}
}

func TestStreamFilters(t *testing.T) {
	t.Parallel()
	st, srv, _ := streaming(t)
	happen(t, st, "alice")
	id := happen(t, st, "alice")
	if _, err := st.Move(t.Context(), id, 1, ide.Running, "test", "", nil); err != nil {
		t.Fatal(err)
	}
	if e := next(t, listen(t, srv, streamAdmin, "?types=container.running,job.*", "0-0")); e.Type != "container.running" {
		t.Errorf("got %s", e.Type)
	}
	if e := next(t, listen(t, srv, streamAdmin, "?container="+id, "0-0")); e.Container != id {
		t.Errorf("got %+v", e)
	}
}

func TestStreamEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	_, srv, draining := streaming(t)
	events := listen(t, srv, streamAdmin, "", "")
	close(draining)
	select {
	case _, ok := <-events:
		if ok {
			t.Error("got an event, want the end")
		}
	case <-time.After(time.Minute):
		t.Error("the stream keeps a process from ending")
	}
}

func TestStreamRefusesAnOddID(t *testing.T) {
	t.Parallel()
	_, srv, _ := streaming(t)
	req, _ := http.NewRequest(http.MethodGet, srv.URL+"/api/events", nil)
	req.Header.Set("Authorization", "Bearer "+streamAdmin)
	req.Header.Set("Last-Event-ID", "yesterday")
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("got %s", res.Status)
	}
}

func TestStreamEndsWithItsKey(t *testing.T) {
	t.Parallel()
	st, srv, _ := streaming(t)
	var key NewKeyAnswer
	for range 2 { // a key of the same name before it does not matter
		send(t, srv, streamAdmin, "POST", "/api/keys", `{"name":"course-1","role":"viewer"}`, &key)
		events := listen(t, srv, key.Key, "?types=container.running", "0-0")
		other := listen(t, srv, streamAdmin, "", "")
		if err := st.RemoveKey(t.Context(), "course-1"); err != nil {
			t.Fatal(err)
		}
		select {
		case e, ok := <-events:
			if ok {
				t.Errorf("got %+v, want the end", e)
			}
		case <-time.After(time.Minute):
			t.Error("a revoked key goes on listening")
		}
		id := happen(t, st, "alice")
		if got := next(t, other).Container; got != id {
			t.Errorf("another key's stream: got %q, want %q", got, id)
		}
	}
}

// A reader that falls behind what its buffer holds misses nothing.
func TestSlowReaderIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.follow()
	srv := httptest.NewServer(b.api)
	t.Cleanup(srv.Close)
	events := listen(t, srv, rootKey, "", "")
	var want, got []string
	_, err := b.rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error { // at once, so that the feed hands them on at once
		for i := range 12 * streamBuffer {
			id := fmt.Sprint("c", i)
			want = append(want, id)
			p.XAdd(t.Context(), &redis.XAddArgs{Stream: "{berth}:events", Values: []string{"e", `{"type":"container.running","containerId":"` + id + `"}`}})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range want {
		got = append(got, next(t, events).Container)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStreamBeats(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.api = New(b.deps, Config{Heartbeat: 10 * time.Millisecond, Keys: []Key{{"root", ide.Admin, rootKey}}})
	srv := httptest.NewServer(b.api)
	t.Cleanup(srv.Close)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/api/events", nil)
	req.Header.Set("Authorization", "Bearer "+rootKey)
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for range 8 {
		if !lines.Scan() || lines.Text() != "" && !strings.HasPrefix(lines.Text(), ":") {
			t.Fatalf("got %q, %v, want comments", lines.Text(), lines.Err())
		}
	}
}

// A thousand readers cost less than 100 MB, their connections included. Both
// ends of each are in this process: a bare socket on the reader's.
func TestThousandReaders(t *testing.T) {
	const readers = 1000
	st, srv, _ := streaming(t)
	memory := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse + m.StackInuse)
	}
	before := memory()
	head := "GET /api/events HTTP/1.1\r\nHost: berth\r\nAuthorization: Bearer " + streamAdmin + "\r\n\r\n"
	conns := make([]net.Conn, readers)
	for i := range conns {
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
		if _, err := c.Write([]byte(head)); err != nil {
			t.Fatal(err)
		}
		conns[i] = c
	}
	read := func(c net.Conn, until string) error {
		for text, buf := "", make([]byte, 1024); !strings.Contains(text, until); {
			n, err := c.Read(buf)
			if err != nil {
				return fmt.Errorf("%w after %q", err, text)
			}
			text += string(buf[:n])
		}
		return nil
	}
	for _, c := range conns {
		if err := read(c, ": hello"); err != nil {
			t.Fatal(err)
		}
	}
	id := happen(t, st, "alice")
	for _, c := range conns {
		if err := read(c, id); err != nil {
			t.Fatal(err)
		}
	}
	used := memory() - before
	t.Logf("%d readers cost %.1f MB", readers, float64(used)/1e6)
	if used > 100e6 {
		t.Errorf("%d readers cost %.1f MB, want at most 100", readers, float64(used)/1e6)
	}
}
