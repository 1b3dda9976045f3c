package openapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// told is an event of a dashboard's stream.
type told struct{ kind, id, data string }

// open is a dashboard that is open.
type open struct {
	*testing.T
	res  *http.Response
	told chan told
}

// dashboards is an API that dashboards can be opened on.
func dashboards(t *testing.T) (*bench, *httptest.Server) {
	t.Helper()
	b := newBench(t)
	b.follow()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.st.FollowLogs(ctx, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() { cancel(); <-done })
	srv := httptest.NewServer(b.api)
	t.Cleanup(srv.Close)
	return b, srv
}

// watch opens the stream, with a key or headers.
func watch(t *testing.T, srv *httptest.Server, key, query string, headers ...string) *open {
	t.Helper()
	return opened(t, ask(t, srv, key, "/api/dashboard/stream"+query, headers...))
}

// opened reads a stream that was opened.
func opened(t *testing.T, res *http.Response) *open {
	t.Helper()
	o := &open{T: t, res: res, told: make(chan told, 10_000)}
	if o.res.StatusCode != http.StatusOK || o.res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %s, %s", o.res.Status, o.res.Header.Get("Content-Type"))
	}
	in := bufio.NewScanner(o.res.Body)
	in.Buffer(nil, 16<<20)
	go func() {
		defer close(o.told)
		var e told
		for in.Scan() {
			name, value, _ := strings.Cut(in.Text(), ": ")
			switch name {
			case "event":
				e.kind = value
			case "id":
				e.id = value
			case "data":
				e.data = value
			case "":
				if e.kind != "" {
					o.told <- e
				}
				e = told{}
			}
		}
	}()
	return o
}

// until returns the next event of a kind that is, and calls others for those
// before it.
func (o *open) until(kind string, is func(data string) bool, others ...func(told)) told {
	o.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case e, ok := <-o.told:
			if !ok {
				o.Fatalf("the stream ended before %s", kind)
			}
			if e.kind == kind && (is == nil || is(e.data)) {
				return e
			}
			for _, see := range others {
				see(e)
			}
		case <-late:
			o.Fatalf("no %s came", kind)
		}
	}
}

func has(parts ...string) func(string) bool {
	return func(data string) bool {
		return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(data, p) })
	}
}

func decoded[T any](t *testing.T, e told) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(e.data), &v); err != nil {
		t.Fatalf("%s: %v: %s", e.kind, err, e.data)
	}
	return v
}

func TestDashboardHearsOfWhatChanges(t *testing.T) {
	t.Parallel()
	b, srv := dashboards(t)
	o := watch(t, srv, rootKey, "?topics=containers,jobs")
	hello := decoded[Hello](t, o.until("hello", nil))
	if hello.Name != "root" || hello.Role != ide.Admin || hello.Version != "v9" || !slices.Equal(hello.Topics, []string{"containers", "jobs"}) {
		t.Errorf("got %+v", hello)
	}
	out := b.create(alice, "workspace")
	id := out.Container.ID
	c := decoded[ContainerAnswer](t, o.until("container", has(id)))
	if c.Status != ide.Starting || c.Owner != "alice" || c.URLs.Code == "" {
		t.Errorf("got %+v", c)
	}
	if j := decoded[functions.JobAnswer](t, o.until("job", has(out.Job.ID))); j.Status != ide.JobQueued || j.Links.Self == "" {
		t.Errorf("got %+v", j)
	}
	// a step of the job, its end, and the container's state
	held, err := b.st.Take(t.Context(), out.Job.ID, 1)
	if err != nil {
		t.Fatal(err)
	}
	o.until("job", has(out.Job.ID, `"status":"running"`))
	held.Job.Steps = append(held.Job.Steps, ide.Step{Name: "service", Status: ide.StepRunning})
	if err := held.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.until("job", has(out.Job.ID, `"name":"service"`))
	if _, err := b.st.Move(t.Context(), id, 1, ide.Failed, "test", "It failed.", nil); err != nil {
		t.Fatal(err)
	}
	o.until("container", has(id, `"status":"failed"`))
	if _, err := held.End(t.Context(), ide.JobFailed); err != nil {
		t.Fatal(err)
	}
	o.until("job", has(out.Job.ID, `"status":"failed"`))
	// it is used, and it goes
	if err := b.st.ReportActivity(t.Context(), []ide.Activity{{ID: id, Requests: 1, LastActivity: time.Now(), Web: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	o.until("container", has(id, `"lastActivity"`))
	if err := b.st.Drop(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	if gone := decoded[Gone](t, o.until("gone", nil)); gone.ID != id {
		t.Errorf("got %+v", gone)
	}
}

// A burst of changes is told as it stands at its end.
func TestDashboardIsToldTheLastState(t *testing.T) {
	t.Parallel()
	b, srv := dashboards(t)
	o := watch(t, srv, viewKey, "?topics=containers")
	o.until("hello", nil)
	id := b.create(alice, "workspace").Container.ID
	const changes = 500
	for i := range changes {
		if _, err := b.st.Update(t.Context(), id, func(c *ide.Container) error {
			c.Labels = map[string]string{"n": string(rune('a' + i%26)), "last": map[bool]string{true: "yes"}[i == changes-1]}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	times := 0
	o.until("container", has(`"last":"yes"`), func(e told) { times++ })
	if times > changes/2 {
		t.Errorf("%d changes were told %d times", changes, times)
	}
}

func TestDashboardShowsEachKeyItsOwn(t *testing.T) {
	t.Parallel()
	b, srv := dashboards(t)
	hers, his := watch(t, srv, aliceKey, ""), watch(t, srv, bobKey, "?topics=overview,nodes,containers,jobs,logs")
	hello := decoded[Hello](t, his.until("hello", nil))
	hers.until("hello", nil)
	if slices.Contains(hello.Topics, "logs") || slices.Contains(hello.Topics, "nodes") {
		t.Errorf("a client gets %v", hello.Topics)
	}
	first := b.create(alice, "alices-bucket")
	wrote(t, b.st, ide.LogLine{Container: first.Container.ID, Text: "alice's line"})
	hers.until("container", has(first.Container.ID))
	second := b.create(bob, "bobs-bucket")
	his.until("container", has(second.Container.ID), func(e told) {
		if strings.Contains(e.data, first.Container.ID) || strings.Contains(e.data, "alice") {
			t.Errorf("bob is told %+v", e)
		}
	})
	stop, err := functions.StopContainer.Enqueue(t.Context(), b.deps, ide.Principal{Name: "root", Role: ide.Admin}, &functions.StopContainerArgs{ID: second.Container.ID})
	if err != nil {
		t.Fatal(err)
	}
	his.until("job", has(stop.Job.ID)) // an admin's job, on his container
	if res := ask(t, srv, bobKey, "/api/dashboard/stream?topics=logs&container="+first.Container.ID); res.StatusCode != http.StatusNotFound {
		t.Errorf("alice's logs: got %s", res.Status)
	}
	own := watch(t, srv, bobKey, "?topics=logs&container="+second.Container.ID)
	own.until("hello", nil)
	wrote(t, b.st, ide.LogLine{Container: second.Container.ID, Text: "bob's line"})
	own.until("logs", has("bob's line"))
}

func TestDashboardStreamsLogs(t *testing.T) {
	t.Parallel()
	b, srv := dashboards(t)
	id, other := b.create(alice, "one-bucket").Container.ID, b.create(alice, "other-bucket").Container.ID
	for _, text := range []string{"one", "two", "three"} {
		wrote(t, b.st, ide.LogLine{Container: id, Text: text})
		wrote(t, b.st, ide.LogLine{Container: other, Text: "other"})
	}
	o := watch(t, srv, viewKey, "?topics=logs&tail=2&container="+id)
	lines := decoded[[]ide.LogLine](t, o.until("logs", nil))
	if len(lines) != 2 || lines[0].Text != "two" || lines[1].Text != "three" {
		t.Errorf("got %+v, want the last two", lines)
	}
	wrote(t, b.st, ide.LogLine{Container: other, Text: "other"})
	wrote(t, b.st, ide.LogLine{Container: id, Text: "four"})
	e := o.until("logs", nil)
	if lines = decoded[[]ide.LogLine](t, e); len(lines) != 1 || lines[0].Text != "four" || e.id != lines[0].ID {
		t.Errorf("got %+v with the ID %s", lines, e.id)
	}
	wrote(t, b.st, ide.LogLine{Container: id, Text: "five"})
	again := watch(t, srv, viewKey, "?topics=logs&tail=100&container="+id, "Last-Event-ID", e.id)
	if lines = decoded[[]ide.LogLine](t, again.until("logs", nil)); len(lines) != 1 || lines[0].Text != "five" {
		t.Errorf("going on: got %+v, want what came since", lines)
	}
}

// A reader that is too slow is told how much it missed.
func TestSlowDashboardIsToldWhatItMissed(t *testing.T) {
	t.Parallel()
	l := newListener(ide.Principal{}, map[string]bool{"logs": true, "containers": true})
	lines := make([]ide.LogLine, 700)
	for range 4 {
		l.add(lines)
	}
	text, more := l.next("v9")
	if !more || !strings.Contains(string(text), `event: dropped`+"\n"+`data: {"count":800}`) || strings.Count(string(text), `"source"`) != liveLines {
		t.Errorf("got %.200s, %t", text, more)
	}
	for range 3 {
		text, more = l.next("v9")
	}
	if more || strings.Contains(string(text), "dropped") {
		t.Errorf("in the end: got %.200s, %t", text, more)
	}
	for i := range liveItems + 1 {
		l.item("containers", string(rune(i)), []byte("x"))
	}
	if text, more := l.next("v9"); more || !strings.Contains(string(text), "event: hello") {
		t.Errorf("after more than it can take: got %.100s, %t, want to be told to read again", text, more)
	}
}

func TestDashboardBeats(t *testing.T) {
	t.Parallel()
	b, _ := dashboards(t)
	b.api = New(b.deps, Config{Beat: 20 * time.Millisecond, Keys: []Key{{"root", ide.Admin, rootKey}}})
	srv := httptest.NewServer(b.api)
	t.Cleanup(srv.Close)
	o := watch(t, srv, rootKey, "")
	for range 3 {
		o.until("beat", nil)
	}
}

// What a dashboard was opened with ends, and it with that, at every replica and
// within a second.
func TestDashboardEndsWithItsKey(t *testing.T) {
	t.Parallel()
	b, srv := dashboards(t)
	other := benchOn(t, b.rdb)
	other.follow()
	replica := httptest.NewServer(other.api)
	t.Cleanup(replica.Close)
	var made NewKeyAnswer
	b.read(b.call(rootKey, "POST", "/api/keys", `{"name":"course-1","role":"viewer"}`), http.StatusCreated, &made)
	c := b.signIn(made.Key)
	cookie := []string{"Cookie", c.Name + "=" + c.Value}
	reason := func(o *open) string { return decoded[End](t, o.until("end", nil)).Reason }

	left := watch(t, srv, "", "", cookie...)
	left.until("hello", nil)
	byKey, byCookie := watch(t, srv, made.Key, ""), watch(t, replica, "", "", "Cookie", c.Name+"="+b.signIn(made.Key).Value)
	byKey.until("hello", nil)
	byCookie.until("hello", nil)
	b.with(c, "DELETE", "/api/session", "")
	if got := reason(left); got != "signed-out" {
		t.Errorf("signed out: got %q", got)
	}
	if w := b.call(rootKey, "DELETE", "/api/keys/course-1", ""); w.Code != http.StatusNoContent {
		t.Fatalf("revoke: got %d", w.Code)
	}
	for _, o := range []*open{byKey, byCookie} {
		if got := reason(o); got != "revoked" {
			t.Errorf("revoked: got %q", got)
		}
		if e, more := <-o.told; more {
			t.Errorf("after its end: got %+v", e)
		}
	}
}

func TestDashboardEndsWithItsSession(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]redis.Hook{"while it is told": nil, "while it begins": redisAtTheEnd{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, srv := dashboards(t)
			if hook != nil {
				b.rdb.AddHook(hook)
			}
			o := opened(t, b.expiring(srv))
			if got := decoded[End](t, o.until("end", nil)).Reason; got != "expired" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// expiring opens the stream with a session that ends within a second. On a busy
// machine some end before they are used.
func (b *bench) expiring(srv *httptest.Server) *http.Response {
	b.Helper()
	for i := range 100 {
		token := fmt.Sprintf("token-token-token-token-%d", i)
		n := session(token, "root", rootKey)
		n.Expires = time.Now().Add(time.Second)
		if err := b.st.AddSession(b.Context(), n); err != nil {
			b.Fatal(err)
		}
		if res := ask(b.T, srv, "", "/api/dashboard/stream", "Cookie", plainCookie+"="+token); res.StatusCode == http.StatusOK {
			return res
		}
	}
	b.Fatal("no session was good for a stream")
	return nil
}

// redisAtTheEnd reads a stream for a request that may not last for ever only when
// that request ends.
type redisAtTheEnd struct{}

func (redisAtTheEnd) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (redisAtTheEnd) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (redisAtTheEnd) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, all []redis.Cmder) error {
		if _, ends := ctx.Deadline(); ends && all[0].Name() == "xrange" {
			<-ctx.Done()
			return ctx.Err()
		}
		return next(ctx, all)
	}
}

func TestDashboardEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	b, _ := dashboards(t)
	draining := make(chan struct{})
	b.api = New(b.deps, Config{Draining: draining, Keys: []Key{{"root", ide.Admin, rootKey}}})
	srv := httptest.NewServer(b.api)
	t.Cleanup(srv.Close)
	o := watch(t, srv, rootKey, "")
	o.until("hello", nil)
	close(draining)
	for e := range o.told {
		if e.kind == "end" {
			t.Error("a process that ends tells the page not to come back")
		}
	}
}

// Nothing runs for dashboards when none is open.
func TestNoDashboardNoWork(t *testing.T) {
	t.Parallel()
	b, srv := dashboards(t)
	watched := func() int64 { return b.rdb.PubSubNumSub(t.Context(), "{berth}:changed").Val()["{berth}:changed"] }
	for range 2 {
		first, second := watch(t, srv, rootKey, ""), watch(t, srv, aliceKey, "")
		first.until("hello", nil)
		second.until("hello", nil)
		if n := watched(); n != 1 {
			t.Errorf("with two open: %d watch", n)
		}
		first.res.Body.Close()
		second.res.Body.Close()
		for looks := 0; watched() != 0; looks++ {
			if looks == 6000 {
				t.Fatal("it goes on")
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}
