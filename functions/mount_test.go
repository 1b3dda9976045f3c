package functions

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/go-cmp/cmp"
)

func TestMountedFunctionsAnswerWithTheirJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	mux := http.NewServeMux()
	Mount(humago.New(mux, huma.DefaultConfig("test", "1")), b.Deps, b.edge(nil))
	call := func(p ide.Principal, method, path, body, key string) (*httptest.ResponseRecorder, map[string]any) {
		t.Helper()
		r := httptest.NewRequestWithContext(ide.WithPrincipal(t.Context(), p), method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", key)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		var answer map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return w, answer
	}

	w, first := call(alice, "POST", "/api/containers/start", `{"s3Bucket":"workspace"}`, "k")
	id, _ := first["id"].(string)
	job := "container-create:" + id + ":1"
	if w.Code != http.StatusAccepted || w.Header().Get("Location") != "/api/jobs/"+job || w.Header().Get("Retry-After") != "1" {
		t.Errorf("start: got %d %v %s", w.Code, w.Header(), w.Body)
	}
	if first["serviceName"] != "berth-"+id || first["status"] != "starting" || first["message"] == "" || first["job"].(map[string]any)["id"] != job {
		t.Errorf("start: got %v, want the container and its job %s", first, job)
	}
	links := map[string]any{"self": "/api/jobs/" + job, "container": "/api/containers/" + id}
	if diff := cmp.Diff(links, first["job"].(map[string]any)["links"]); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	w, again := call(alice, "POST", "/api/containers/start", `{"s3Bucket":"workspace"}`, "k")
	if diff := cmp.Diff(first, again); diff != "" || w.Header().Get("Location") != "/api/jobs/"+job {
		t.Errorf("the same key: got Location %q (-first +again):\n%s", w.Header().Get("Location"), diff)
	}

	w, stop := call(alice, "DELETE", "/api/containers/"+id+"?force=true", "", "")
	job = "container-stop:" + id + ":1"
	if w.Code != http.StatusAccepted || stop["id"] != job || stop["status"] != "queued" || w.Header().Get("Location") != "/api/jobs/"+job {
		t.Errorf("stop: got %d %v %v, want job %s", w.Code, w.Header(), stop, job)
	}
	if w, _ := call(ide.Principal{Name: "eve", Role: ide.Viewer}, "DELETE", "/api/containers/"+id, "", ""); w.Code < 400 {
		t.Errorf("a viewer's stop: got %d", w.Code)
	}
	if w, _ := call(bob, "DELETE", "/api/containers/"+id, "", ""); w.Code < 400 {
		t.Errorf("a stop of somebody else's: got %d", w.Code)
	}
}

// edge is an API that shows a container's record, and for which work is done
// while it waits.
func (b *bench) edge(work func(job string)) Edge {
	return Edge{
		Wait: func(_ context.Context, job string, _ time.Duration) (ide.Job, error) {
			work(job)
			return b.job(job), nil
		},
		Container: func(ctx context.Context, id string) (any, error) { return b.Store.Container(ctx, id) },
		Shown:     reflect.TypeFor[ide.Container](),
	}
}

func TestPreferWaitAnswersWithTheContainer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	work := func(job string) { b.execute(job, ide.JobSucceeded) }
	mux := http.NewServeMux()
	Mount(humago.New(mux, huma.DefaultConfig("test", "1")), b.Deps, b.edge(func(job string) { work(job) }))
	call := func(method, path, body, key string) (w *httptest.ResponseRecorder, answer struct {
		ID, Status string
		Job        JobAnswer
	}) {
		t.Helper()
		r := httptest.NewRequestWithContext(ide.WithPrincipal(t.Context(), alice), method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", key)
		r.Header.Set("Prefer", "wait=30")
		w = httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code == http.StatusNoContent {
			return w, answer
		}
		var raw map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &raw); err != nil {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		delete(raw, "job") // of a container it is a name
		if text, _ := json.Marshal(raw); json.Unmarshal(text, &answer) != nil || w.Code >= 400 {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		if w.Header().Get("Preference-Applied") != "wait=30" || w.Header().Get("Location") == "" {
			t.Errorf("%s %s: got %v", method, path, w.Header())
		}
		return w, answer
	}
	w, started := call("POST", "/api/containers/start", `{"s3Bucket":"workspace"}`, "k")
	if w.Code != http.StatusCreated || started.Status != "running" || w.Header().Get("Retry-After") != "" {
		t.Fatalf("start: got %d %s, %v", w.Code, w.Body, w.Header())
	}
	work = func(string) {} // it has ended
	if w, again := call("POST", "/api/containers/start", `{"s3Bucket":"workspace"}`, "k"); w.Code != http.StatusCreated || again.ID != started.ID {
		t.Errorf("the same key: got %d %s, want the container again", w.Code, w.Body)
	}
	path := "/api/containers/" + started.ID
	w, stopping := call("DELETE", path, "", "")
	if w.Code != http.StatusAccepted || stopping.Status != "queued" || w.Header().Get("Retry-After") == "" {
		t.Errorf("a stop that takes longer: got %d %s, %v", w.Code, w.Body, w.Header())
	}
	work = func(job string) { b.execute(job, ide.JobSucceeded) }
	if w, stopped := call("DELETE", path, "", ""); w.Code != http.StatusOK || stopped.Status != "stopped" {
		t.Errorf("stop: got %d %s", w.Code, w.Body)
	}
	if w, again := call("POST", path+"/start", "", ""); w.Code != http.StatusOK || again.Status != "running" {
		t.Errorf("another start: got %d %s", w.Code, w.Body)
	}
	call("DELETE", path, "", "")
	if w, _ := call("DELETE", path+"?purge=true", "", ""); w.Code != http.StatusNoContent || w.Body.Len() > 0 || w.Header().Get("Location") == "" {
		t.Errorf("a purge leaves no container to show: got %d %s %v", w.Code, w.Body, w.Header())
	}
	work = func(job string) {
		if _, err := Cancel(t.Context(), b.Deps, alice, job); err != nil {
			t.Error(err)
		}
		b.execute(job, ide.JobCanceled)
	}
	if w, canceled := call("POST", "/api/containers/start", `{"s3Bucket":"workspace"}`, ""); w.Code != http.StatusAccepted || canceled.Status != "failed" || w.Header().Get("Retry-After") != "" {
		t.Errorf("a start that failed: got %d %s, %v", w.Code, w.Body, w.Header())
	}
}

func FuzzPatience(f *testing.F) {
	for _, s := range []string{"", "wait=10", "respond-async, wait=10", `Wait="5";a=b`, "wait=99999999999", "wait=-1", ",,=,", "wait"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := Patience(s); got < 0 || got > maxPatience || got%time.Second != 0 {
			t.Errorf("%q: got %v", s, got)
		}
	})
}

func TestAnswerOfAJobWithoutContainer(t *testing.T) {
	t.Parallel()
	got := AnswerJob(ide.Job{ID: "sweep-jobs::1"}).Links
	if want := (Links{Self: "/api/jobs/sweep-jobs::1"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
