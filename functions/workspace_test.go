package functions

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/ide"
	"berth/internal/s3"

	"github.com/google/go-cmp/cmp"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

// withStore gives a bench a store in this process, where workspaces are kept.
func (b *bench) withStore() {
	b.Helper()
	var err error
	b.S3, err = s3.New(s3.Config{Endpoint: b.memoryStore(), PathStyle: true})
	b.must(err)
}

// memoryStore returns the address of an S3 store in this process.
func (b *bench) memoryStore() string {
	b.Helper()
	fake := gofakes3.New(s3mem.New(), gofakes3.WithAutoBucket(true), gofakes3.WithLogger(gofakes3.StdLog(log.New(io.Discard, "", 0)))).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Has("delimiter") && q.Get("delimiter") == "" {
			q.Del("delimiter") // it takes an empty one for one
			r.URL.RawQuery = q.Encode()
		}
		fake.ServeHTTP(w, r)
	}))
	b.Cleanup(server.Close)
	return server.URL
}

// restoredAgent is what an agent says once the workspace is there, and more.
func restoredAgent(more string) answer {
	return answer{status: 200, body: `{"ready":true,"workspace":{"kept":true,"restored":true,"restore":{"generation":2}` + more + `}}`}
}

func (b *bench) kept(c ide.Container) ide.Container {
	b.Helper()
	b.execute(c.Job, ide.JobSucceeded)
	return b.container(c.ID)
}

func (b *bench) createKept() ide.Container {
	b.Helper()
	out := b.create(CreateContainerRequest{AWSAccessKeyID: "key", AWSSecretAccessKey: "secret"})
	return b.kept(b.container(out.Container.ID))
}

func TestGoingBackToAnEarlierSave(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withStore()
	b.inside.say("agent", restoredAgent(""))
	c := b.createKept()

	// What an agent would have saved.
	secrets, _, err := b.secrets(c)
	b.must(err)
	bucket, err := b.S3.Open(t.Context(), c, secrets)
	b.must(err)
	dir := t.TempDir()
	w, _, err := bucket.Restore(t.Context(), dir, nil)
	b.must(err)
	for _, text := range []string{"first", "the second"} {
		b.must(os.WriteFile(filepath.Join(dir, "notes.txt"), []byte(text), 0o644))
		_, err := w.Save(t.Context())
		b.must(err)
	}
	b.must(w.Close())

	back := func(generation int64) (string, error) {
		out, err := RestoreContainer.Enqueue(t.Context(), b.Deps, alice, &RestoreContainerArgs{ID: c.ID, Body: RestoreRequest{Generation: generation}})
		return out.Job.ID, err
	}
	_, err = back(1)
	wantError(t, "going back under a running container", err, ide.Conflict, true)
	b.execute(b.stop(StopContainerArgs{ID: c.ID, Force: true}).Job.ID, ide.JobSucceeded)
	if _, err := RestoreContainer.Enqueue(t.Context(), b.Deps, bob, &RestoreContainerArgs{ID: c.ID, Body: RestoreRequest{Generation: 1}}); !ide.HasCode(err, ide.ContainerNotFound) {
		t.Errorf("another's container: %v", err)
	}

	job, err := back(1)
	b.must(err)
	b.execute(job, ide.JobSucceeded)
	if got := b.container(c.ID); got.Status != ide.Running || got.Run != 2 {
		t.Errorf("got %s, run %d, want the second run", got.Status, got.Run)
	}
	list, err := Generations(t.Context(), b.Deps, c)
	if err != nil || len(list) != 3 || list[0].Generation != 3 || list[2].Generation != 1 {
		t.Fatalf("generations %+v, %v; want 3, 2, 1: what was left is kept", list, err)
	}
	for generation, want := range map[int64]string{2: "the second", 3: "first"} {
		look := t.TempDir()
		_, err := bucket.Extract(t.Context(), generation, look, nil)
		b.must(err)
		if got, err := os.ReadFile(filepath.Join(look, "notes.txt")); string(got) != want || err != nil {
			t.Errorf("generation %d has %q, %v; want %q", generation, got, err, want)
		}
	}

	b.execute(b.stop(StopContainerArgs{ID: c.ID, Force: true}).Job.ID, ide.JobSucceeded)
	before := b.container(c.ID)
	_, err = back(77)
	wantError(t, "a generation that is not kept", err, ide.NotFound, true)
	if diff := cmp.Diff(before, b.container(c.ID)); diff != "" {
		t.Errorf("the refusal changed the record (-before +after):\n%s", diff)
	}

	// it goes away between request and work
	job, err = back(2)
	b.must(err)
	b.must(b.rdb.HSet(t.Context(), "{berth}:j:"+job, "args", strings.Replace(b.rdb.HGet(t.Context(), "{berth}:j:"+job, "args").Val(), `"generation":2`, `"generation":77`, 1)).Err())
	b.execute(job, ide.JobFailed)
	if j := b.job(job); j.Error == nil || j.Error.Code != ide.NotFound {
		t.Errorf("a generation that is not kept: %v", j.Error)
	}
	after := b.container(c.ID)
	if after.Status != ide.Stopped || after.Error != nil || after.Node != before.Node || b.reserved() != "0 0" {
		t.Errorf("got %s (%v) on %s, reserved %s, want it stopped as before", after.Status, after.Error, after.Node, b.reserved())
	}
	if n, err := bucket.Verify(t.Context(), 0); n.Generation != 3 || err != nil {
		t.Errorf("newest is %+v, %v; want 3 still", n, err)
	}
}

// What a save leaves out is told in the container's history: once, and again
// when it is something else.
func TestWhatIsNotSavedIsToldOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withStore()
	b.inside.say("agent", restoredAgent(""))
	c := b.createKept()
	sweep := func(more string) (told []string) {
		t.Helper()
		b.inside.say("agent", restoredAgent(more))
		j, err := RunSchedule(t.Context(), b.Deps, admin, "probe-sweep")
		b.must(err)
		b.execute(j.ID, ide.JobSucceeded)
		events, err := b.Store.History(t.Context(), c.ID)
		b.must(err)
		for _, e := range events {
			if e.Type == "container.left_out" {
				told = append(told, e.Message)
			}
		}
		return told
	}
	const save = `,"lastSave":{"generation":4,"files":12,"leftOut":1}`
	if told := sweep(save); len(told) != 0 {
		t.Errorf("nothing was left out, and it is told %q", told)
	}
	if last := b.container(c.ID).LastSave; last == nil || last.Generation != 4 || last.Files != 12 {
		t.Errorf("the record's last save is %+v", last)
	}
	skipped := save + `,"leftOut":["\"big.iso\": it has more than 42949672960 bytes"]`
	for range 2 {
		if told := sweep(skipped); len(told) != 1 || !strings.Contains(told[0], `"big.iso": it has more than`) {
			t.Fatalf("told %q, want the file and the reason, once", told)
		}
	}
	if told := sweep(save + `,"leftOut":["\"x\": permission denied"]`); len(told) != 2 {
		t.Errorf("told %q, want the other file too", told)
	}
	// What is harmless is an event of another kind.
	if told := sweep(save + `,"leftOut":["\"x\": permission denied"],"notes":["\"y\": its name is not UTF-8"]`); len(told) != 2 {
		t.Errorf("told %q, want no more of what is not saved", told)
	}
	lost := `,"lost":true,"lastSave":{"generation":4,"files":12,"error":{"code":"CONFLICT","message":"Another container has saved this workspace.","permanent":true}}`
	if told := sweep(lost); len(told) != 3 || !strings.Contains(told[2], "Another container has saved") {
		t.Errorf("told %q, want that nothing more is saved", told)
	}
	if last := b.container(c.ID).LastSave; last.Error == nil {
		t.Error("the record does not show that saves fail")
	}
}

// refuseStore puts a store in the place of a bench's that lets nobody in.
func (b *bench) refuseStore() {
	b.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>no</Message></Error>`)
	}))
	b.Cleanup(server.Close)
	var err error
	b.S3, err = s3.New(s3.Config{Endpoint: server.URL, PathStyle: true})
	b.must(err)
}
