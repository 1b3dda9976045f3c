package functions

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/go-cmp/cmp"
)

func TestMountedFunctionsAnswerWithTheirJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	mux := http.NewServeMux()
	Mount(humago.New(mux, huma.DefaultConfig("test", "1")), b.Deps)
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

func TestAnswerOfAJobWithoutContainer(t *testing.T) {
	t.Parallel()
	got := AnswerJob(ide.Job{ID: "sweep-jobs::1"}).Links
	if want := (Links{Self: "/api/jobs/sweep-jobs::1"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
