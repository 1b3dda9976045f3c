package openapi

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/s3"
)

// send calls an API and decodes what it answers.
func send(t *testing.T, srv *httptest.Server, key, method, path, body string, out any) int {
	t.Helper()
	req, err := http.NewRequest(method, srv.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatalf("%v in %d %s", err, res.StatusCode, text)
	}
	return res.StatusCode
}

func TestCheckSaysWhereAndWhy(t *testing.T) {
	t.Parallel()
	st, srv, _ := streaming(t)
	var got functions.CheckAnswer
	if code := send(t, srv, streamAlice, "POST", "/api/containers/check", `{"s3Bucket":"workspace"}`, &got); code != http.StatusOK {
		t.Fatalf("got %d", code)
	}
	if !got.Fits || got.Image != "ide:1" || len(got.Nodes) != 0 || got.Limit != 3 {
		t.Errorf("got %+v", got)
	}
	for range 3 {
		happen(t, st, "alice")
	}
	send(t, srv, streamAlice, "POST", "/api/containers/check", `{"s3Bucket":"workspace"}`, &got)
	if got.Fits || got.Live != 3 || !strings.Contains(got.Why, "key") {
		t.Errorf("with the key's fill: got %+v", got)
	}
	if err := st.PublishNodes(t.Context(), []ide.Node{{ID: "n1", CPU: 5e8, Memory: 64 << 30, State: "ready", Availability: "active", Filtered: true}}); err != nil {
		t.Fatal(err)
	}
	got = functions.CheckAnswer{}
	send(t, srv, streamAdmin, "POST", "/api/containers/check", `{"s3Bucket":"workspace"}`, &got)
	if got.Fits || got.Nodes[0].Fits || got.Nodes[0].Why == "" {
		t.Errorf("with no room: got %+v", got)
	}
	var e Envelope
	if code := send(t, srv, streamAdmin, "POST", "/api/containers/check", `{"s3Bucket":"No Bucket"}`, &e); code != http.StatusBadRequest || e.Err.Code != ide.InvalidS3Bucket {
		t.Errorf("got %d, %+v", code, e)
	}
}

func TestCheckSaysThatABucketIsInUse(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var err error
	if b.deps.S3, err = s3.New(s3.Config{Endpoint: "http://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	const spec = `{"s3Bucket":"workspace","awsAccessKeyId":"AKIA","awsSecretAccessKey":"secret","s3Prefix":"`
	if w := b.call(aliceKey, "POST", "/api/containers/start", spec+`course-1"}`); w.Code != http.StatusAccepted {
		t.Fatalf("start: got %d %s", w.Code, w.Body)
	}
	for prefix, fits := range map[string]bool{"course-1": false, "course-1/alice": false, "": false, "course-2": true, "course-10": true} {
		var got functions.CheckAnswer
		b.read(b.call(bobKey, "POST", "/api/containers/check", spec+prefix+`"}`), http.StatusOK, &got)
		if got.Fits != fits || fits == strings.Contains(got.Why, "Another container") {
			t.Errorf("%q: got %+v, want that it fits: %t", prefix, got, fits)
		}
	}
}

func TestRetryOfAFailedStart(t *testing.T) {
	t.Parallel()
	st, srv, _ := streaming(t)
	id := happen(t, st, "alice")
	job := "container-create:" + id + ":1"
	var e Envelope
	if code := send(t, srv, streamAlice, "POST", "/api/jobs/"+job+"/retry", "", &e); code != http.StatusConflict {
		t.Errorf("retry of a queued job: got %d", code)
	}
	h, err := st.Take(t.Context(), job, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	h.Job.Error = ide.Errorf(ide.ContainerStartFailed, "no")
	if _, err := st.Move(t.Context(), id, 1, ide.Failed, "test", "no", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := h.End(t.Context(), ide.JobFailed); err != nil {
		t.Fatal(err)
	}
	var again functions.JobAnswer
	if code := send(t, srv, streamAlice, "POST", "/api/jobs/"+job+"/retry", "", &again); code != http.StatusAccepted || again.Function != "container-start" || again.Container != id {
		t.Errorf("got %d, %+v", code, again)
	}
	if c, err := st.Container(t.Context(), id); err != nil || c.Status != ide.Starting || c.Run != 2 {
		t.Errorf("got %+v, %v, want a second run", c, err)
	}
}
