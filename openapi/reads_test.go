package openapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

func ids(list ContainerList) []string {
	out := []string{}
	for _, c := range list.Containers {
		out = append(out, c.ID)
	}
	return out
}

func TestListContainers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var made []string // newest first
	for i, p := range []ide.Principal{alice, alice, bob, alice} {
		id := b.create(p, fmt.Sprintf("bucket-%d", i)).Container.ID
		made = slices.Insert(made, 0, id)
		b.update(id, func(c *ide.Container) { c.CreatedAt = time.Unix(1_800_000_000+int64(i), 0) })
		b.rdb.ZAdd(t.Context(), "{berth}:cs", zAt(id, i))
		b.rdb.ZAdd(t.Context(), "{berth}:cs:o:"+p.Name, zAt(id, i))
	}
	b.update(made[3], func(c *ide.Container) { c.Status = ide.Running })
	for name, tc := range map[string]struct {
		key, query           string
		want                 []string
		total, limit, offset int
	}{
		"an admin sees all":          {rootKey, "", made, 4, 50, 0},
		"a viewer sees all":          {viewKey, "", made, 4, 50, 0},
		"a client sees its own":      {aliceKey, "", []string{made[0], made[2], made[3]}, 3, 50, 0},
		"a client asks for another":  {aliceKey, "?owner=bob", []string{made[0], made[2], made[3]}, 3, 50, 0},
		"an admin asks for one":      {rootKey, "?owner=bob", []string{made[1]}, 1, 50, 0},
		"by status":                  {rootKey, "?status=running", []string{made[3]}, 1, 50, 0},
		"by owner and status":        {rootKey, "?owner=bob&status=running", []string{}, 0, 50, 0},
		"a page, total of all":       {rootKey, "?limit=2", made[:2], 4, 2, 0},
		"the next page":              {rootKey, "?limit=2&offset=2", made[2:], 4, 2, 2},
		"the last, not full":         {rootKey, "?limit=3&offset=3", made[3:], 4, 3, 3},
		"beyond the end":             {rootKey, "?offset=9", []string{}, 4, 50, 9},
		"the largest page":           {rootKey, "?limit=200", made, 4, 200, 0},
		"an owner that has nothing":  {rootKey, "?owner=carol", []string{}, 0, 50, 0},
		"empty parameters match all": {rootKey, "?owner=", made, 4, 50, 0},
	} {
		var got ContainerList
		b.get(tc.key, "/api/containers"+tc.query, &got)
		if diff := cmp.Diff(tc.want, ids(got)); diff != "" || got.Page != (Page{tc.total, tc.limit, tc.offset}) {
			t.Errorf("%s: page %+v (-want +got):\n%s", name, got.Page, diff)
		}
	}
	for _, i := range []int{0, 1} { // alice's, bob's
		b.update(made[i], func(c *ide.Container) { c.Unsaved = true })
	}
	unsaved := func(key, query string, total int, want ...string) {
		t.Helper()
		var got ContainerList
		b.get(key, "/api/containers?unsaved=true"+query, &got)
		if diff := cmp.Diff(want, ids(got)); diff != "" || got.Total != total {
			t.Errorf("unsaved%s: %d in all (-want +got):\n%s", query, got.Total, diff)
		}
	}
	unsaved(rootKey, "", 2, made[0], made[1])
	unsaved(rootKey, "&limit=1&offset=1", 2, made[1])
	unsaved(rootKey, "&owner=bob", 1, made[1])
	unsaved(aliceKey, "", 1, made[0])
	b.update(made[0], func(c *ide.Container) { c.Unsaved = false })
	unsaved(rootKey, "", 1, made[1])
	if w := b.call(rootKey, "GET", "/api/containers?unsaved=true&status=failed", ""); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "must not be combined") {
		t.Errorf("unsaved and a status: got %d %s", w.Code, w.Body)
	}
	if w := b.call(bobKey, "GET", "/api/containers?status=failed", ""); !strings.Contains(w.Body.String(), `"containers":[]`) {
		t.Errorf("an empty list is %s, want []", w.Body)
	}
}

func TestGetContainer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.create(alice, "bucket-1").Container.ID
	var got ContainerAnswer
	b.get(aliceKey, "/api/containers/"+id, &got)
	want := ContainerAnswer{
		ID: id, ServiceName: "berth-" + id, Status: ide.Starting, S3Bucket: "bucket-1", S3Region: "us-east-1", Image: "berth/ide:slim", Template: "default", Node: "n1", Owner: "alice",
		URLs:           ide.URLs{VNC: "http://" + id + "-vnc.ide.test", Code: "http://" + id + "-code.ide.test", WebServer: "http://" + id + "-web.ide.test"},
		ResourceLimits: ResourceLimits{CPULimit: "1.5", MemoryLimit: "2GiB"}, JobID: "container-create:" + id + ":1", Job: got.Job,
		CreatedAt: got.CreatedAt, Health: &ide.Health{Status: "starting"},
	}
	if got.Health != nil {
		want.Health.LastCheck = got.Health.LastCheck
	}
	if got.Job == nil || got.Job.ID != got.JobID || got.Job.Status != ide.JobQueued {
		t.Errorf("its job: got %+v", got.Job)
	}
	if diff := cmp.Diff(want, got); diff != "" || time.Since(got.CreatedAt).Abs() > time.Minute {
		t.Errorf("created %v (-want +got):\n%s", got.CreatedAt, diff)
	}

	started, seen := time.Now().Add(-90*time.Second).UTC(), time.Now().Add(-7*time.Second).UTC().Truncate(time.Millisecond)
	b.update(id, func(c *ide.Container) { c.Status, c.StartedAt = ide.Running, &started })
	if err := b.st.ReportActivity(t.Context(), []ide.Activity{{ID: id, Requests: 1, LastActivity: seen, Web: seen}}); err != nil {
		t.Fatal(err)
	}
	got = ContainerAnswer{}
	b.get(viewKey, "/api/containers/"+id, &got)
	if got.Uptime < 90 || got.Uptime > 150 || got.LastActivity == nil || !got.LastActivity.Equal(seen) || got.Health != nil {
		t.Errorf("running: got uptime %d, last activity %v, health %v", got.Uptime, got.LastActivity, got.Health)
	}
	b.update(id, func(c *ide.Container) {
		c.Status, c.ShutdownReason, c.Error = ide.Failed, ide.ByError, &ide.Error{Code: ide.ContainerStartFailed, Message: "No."}
	})
	got = ContainerAnswer{}
	b.get(rootKey, "/api/containers/"+id, &got)
	if got.Uptime != 0 || got.ShutdownReason != ide.ByError || got.Error == nil || got.Error.Code != ide.ContainerStartFailed {
		t.Errorf("failed: got %+v", got)
	}
	text := b.call(rootKey, "GET", "/api/containers/"+id, "").Body.String()
	for _, hidden := range []string{"sealed", "probe", "address", "v1."} {
		if strings.Contains(text, `"`+hidden) {
			t.Errorf("%s shows in %s", hidden, text)
		}
	}
}

func TestContainerEvents(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out := b.create(alice, "bucket-1")
	id := out.Container.ID
	if _, err := b.st.Move(t.Context(), id, 1, ide.Failed, "container-create", "No such image.", nil); err != nil {
		t.Fatal(err)
	}
	b.create(alice, "bucket-2")
	var got EventList
	b.get(aliceKey, "/api/containers/"+id+"/events", &got)
	var rows [][]string
	for _, e := range got.Events {
		rows = append(rows, []string{e.Type, e.By, e.Job, e.Message})
	}
	want := [][]string{{"container.starting", "alice", out.Job.ID, "A start was asked for."}, {"container.failed", "container-create", out.Job.ID, "No such image."}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("oldest first (-want +got):\n%s", diff)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.create(alice, "bucket-1").Container.ID
	for _, key := range []string{aliceKey, rootKey} {
		var got CredentialsAnswer
		w := b.call(key, "GET", "/api/containers/"+id+"/credentials", "")
		b.read(w, http.StatusOK, &got)
		if got.VNCPassword != "hunter22" || len(got.CodePassword) != 16 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("got %+v, %v", got, w.Header())
		}
	}
	b.update(id, func(c *ide.Container) { c.Sealed = "v1.broken" })
	b.refused(b.call(aliceKey, "GET", "/api/containers/"+id+"/credentials", ""), 500, ide.Internal, "/api/containers/"+id+"/credentials")
}

func TestStartAndAskAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ask := func(key, bucket string) *httptest.ResponseRecorder {
		return b.call(key, "POST", "/api/containers/start", `{"s3Bucket":"`+bucket+`"}`, "Idempotency-Key", "k")
	}
	first, again, other := ask(aliceKey, "bucket-1"), ask(aliceKey, "bucket-1"), ask(bobKey, "bucket-1")
	var a, c functions.StartAnswer
	b.read(first, http.StatusAccepted, &a)
	b.read(other, http.StatusAccepted, &c)
	if again.Code != http.StatusAccepted || again.Body.String() != first.Body.String() || first.Header().Get("Location") != "/api/jobs/"+a.Job.ID {
		t.Errorf("got %d %s, %v, want the first answer again: %s", again.Code, again.Body, again.Header(), first.Body)
	}
	if c.ID == a.ID {
		t.Error("one key's Idempotency-Key gave another key its container")
	}
	b.refused(ask(aliceKey, "bucket-2"), 422, ide.IdempotencyKeyReused, "/api/containers/start")

	b.deps.MaxPerKey = 1
	b.refused(b.call(aliceKey, "POST", "/api/containers/start", `{"s3Bucket":"bucket-3"}`), 429, ide.ContainerLimitExceeded, "/api/containers/start")
	b.deps.MaxPerKey = 0
	if err := b.st.PublishNodes(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	w := b.call(aliceKey, "POST", "/api/containers/start", `{"s3Bucket":"bucket-3"}`)
	b.refused(w, 503, ide.ResourceLimitExceeded, "/api/containers/start")
	if w.Header().Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

func TestDocumentIsComplete(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var doc struct {
		OpenAPI string
		Info    struct{ Version string }
		Paths   map[string]map[string]struct {
			OperationID string
			Security    []map[string][]string
			Parameters  []struct{ Name string }
			Responses   map[string]json.RawMessage
		}
	}
	w := b.call("", "GET", "/openapi.json", "")
	b.read(w, http.StatusOK, &doc)
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Info.Version != "v9" || w.Header().Get("Content-Type") != "application/openapi+json" {
		t.Errorf("got OpenAPI %s of %s as %s", doc.OpenAPI, doc.Info.Version, w.Header().Get("Content-Type"))
	}
	have := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			name := strings.ToUpper(method) + " " + path
			have[name] = true
			idempotent := false
			for _, p := range op.Parameters {
				idempotent = idempotent || p.Name == "Idempotency-Key"
			}
			if _, reused := op.Responses["422"]; reused != idempotent {
				t.Errorf("%s: 422 is %t, Idempotency-Key %t", name, reused, idempotent)
			}
			if public := name == "GET /api/health" || name == "POST /api/session"; public != (len(op.Security) == 0) {
				t.Errorf("%s: security is %v", name, op.Security)
			}
			for _, status := range []string{"400", "401", "500"} {
				if _, ok := op.Responses[status]; !ok && name != "GET /api/health" {
					t.Errorf("%s does not name %s", name, status)
				}
			}
			if strings.Contains(path, "{") && op.Responses["404"] == nil {
				t.Errorf("%s does not name 404", name)
			}
		}
	}
	want := []string{"GET /api/containers", "GET /api/containers/{id}", "GET /api/containers/{id}/events", "GET /api/containers/{id}/credentials",
		"GET /api/jobs", "GET /api/jobs/{id}", "DELETE /api/jobs/{id}", "GET /api/health"}
	for _, f := range functions.All() {
		if f.Route != "" {
			want = append(want, f.Route)
		}
	}
	for _, name := range want {
		if !have[name] {
			t.Errorf("the document lacks %s", name)
		}
	}
	yaml := b.call("", "GET", "/openapi.yaml", "")
	printed, err := Document("v9").YAML()
	if err != nil || yaml.Body.String() != string(printed) || yaml.Header().Get("Content-Type") != "application/openapi+yaml" {
		t.Errorf("what is printed is not what is served: %v", err)
	}
}

// TestDocumentsAtOnce asks for both forms many times at once, while requests
// are checked against the document.
func TestDocumentsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var bodies sync.Map
	var all sync.WaitGroup
	for range 4 {
		for _, target := range []string{"/openapi.json", "/openapi.yaml"} {
			all.Go(func() {
				w := b.call("", "GET", target, "")
				if first, _ := bodies.LoadOrStore(target, w.Body.String()); w.Code != http.StatusOK || w.Body.Len() == 0 || first != w.Body.String() {
					t.Errorf("%s: got %d, %d bytes, not what another was given", target, w.Code, w.Body.Len())
				}
			})
		}
		all.Go(func() {
			if w := b.call(rootKey, "POST", "/api/containers/check", `{"s3Bucket":"A"}`); w.Code != http.StatusBadRequest {
				t.Errorf("a bucket's name that is none: got %d %s", w.Code, w.Body)
			}
		})
	}
	all.Wait()
}
