package openapi

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/redistest"
	"berth/internal/store"
	"berth/queue"

	"github.com/google/go-cmp/cmp"
)

const (
	streamAdmin = "stream-admin-stream-admin-stream-admin"
	streamAlice = "stream-alice-stream-alice-stream-alice"
)

// streaming is an API with one node's room and a feed that follows.
func streaming(t *testing.T) (*store.Store, *httptest.Server, chan struct{}) {
	t.Helper()
	rdb := redistest.New(t)
	st := store.New(rdb, store.Config{})
	log := slog.New(slog.DiscardHandler)
	if err := st.PublishNodes(t.Context(), []ide.Node{{ID: "n1", CPU: 64e9, Memory: 64 << 30, State: "ready", Availability: "active", Filtered: true, At: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	draining := make(chan struct{})
	srv := httptest.NewServer(New(&functions.Deps{Store: st, Log: log, Queue: queue.New(rdb), Settings: functions.Settings{DefaultImage: "ide:1", MaxPerKey: 3,
		Resources: ide.Resources{CPUReservation: 1e9, MemoryReservation: 1 << 30, CPULimit: 2e9, MemoryLimit: 4 << 30}}}, Config{Draining: draining,
		Keys: []Key{{Name: "root", Role: ide.Admin, Secret: streamAdmin}, {Name: "alice", Role: ide.Client, Secret: streamAlice}}}))
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); st.Follow(ctx, log) }()
	t.Cleanup(func() { cancel(); <-done })
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
	case <-time.After(10 * time.Second):
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
	case <-time.After(10 * time.Second):
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
