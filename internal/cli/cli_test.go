package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// api answers each "METHOD /path" with the given texts, one call after the
// other, the last one for ever, and remembers what it was sent.
type api struct {
	answers map[string][]string
	bodies  map[string]string
	queries map[string]string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := r.Method + " " + r.URL.Path
	body, _ := io.ReadAll(r.Body)
	a.bodies[call], a.queries[call] = string(body), r.URL.RawQuery
	w.Header().Set("X-Request-ID", "req-1")
	list := a.answers[call]
	if len(list) == 0 || r.Header.Get("Authorization") != "Bearer key" {
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"error":{"code":"NOT_FOUND","message":"There is nothing here."}}`)
		return
	}
	if len(list) > 1 {
		a.answers[call] = list[1:]
	}
	io.WriteString(w, list[0])
}

// berth runs a command line against the API.
func berth(t *testing.T, answers map[string][]string, args ...string) (out, stderr string, a *api, err error) {
	t.Helper()
	a = &api{answers: answers, bodies: map[string]string{}, queries: map[string]string{}}
	srv := httptest.NewServer(a)
	defer srv.Close()
	var cmds struct {
		Commands
		Globals
	}
	parser, err := kong.New(&cmds, kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		t.Fatal(err)
	}
	var o, e bytes.Buffer
	cmds.Bind(t.Context(), map[string]string{"BERTH_URL": srv.URL, "BERTH_API_KEY": "key"}, &o, &e)
	err = parsed.Run(&cmds.Globals)
	return o.String(), e.String(), a, err
}

const (
	oneContainer = `{"id":"abc","status":"running","owner":"alice","s3Bucket":"ws","createdAt":"2026-01-02T03:04:05Z","urls":{"codeServer":"http://abc-code.x"}}`
	running      = `{"id":"container-create:abc:1","function":"container-create","status":"running","steps":[{"name":"queue","status":"done","seconds":0.01},{"name":"task","status":"running"}]}`
	succeeded    = `{"id":"container-create:abc:1","function":"container-create","status":"succeeded","steps":[{"name":"queue","status":"done","seconds":0.01},{"name":"task","status":"done","seconds":1.5}]}`
	failed       = `{"id":"container-create:abc:1","function":"container-create","status":"failed","steps":[{"name":"task","status":"failed","message":"No such image."}],"error":{"code":"CONTAINER_START_FAILED","message":"No such image."}}`
)

func TestCreateShowsStepsAndThenTheContainer(t *testing.T) {
	t.Parallel()
	out, stderr, a, err := berth(t, map[string][]string{
		"POST /api/containers/start":           {`{"id":"abc","job":{"id":"container-create:abc:1"}}`},
		"GET /api/jobs/container-create:abc:1": {running, succeeded},
		"GET /api/containers/abc":              {oneContainer},
	}, "create", "ws", "--cpu", "1.5", "--label", "course=1")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := a.bodies["POST /api/containers/start"], `{"s3Bucket":"ws","resources":{"cpuLimit":1.5},"labels":{"course":"1"}}`; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	if strings.Count(stderr, "task") != 1 || !strings.Contains(stderr, "1.50s") {
		t.Errorf("progress was %q, want each step once", stderr)
	}
	if !strings.Contains(out, "http://abc-code.x") || !strings.Contains(out, "running") {
		t.Errorf("got %q", out)
	}
}

func TestAFailedJobIsAnErrorOfItsOwn(t *testing.T) {
	t.Parallel()
	_, stderr, _, err := berth(t, map[string][]string{"GET /api/jobs/x": {failed}}, "wait", "x")
	if !errors.Is(err, ErrJobFailed) || !strings.Contains(stderr, "No such image. (CONTAINER_START_FAILED)") {
		t.Errorf("got %v, %q", err, stderr)
	}
	out, stderr, _, err := berth(t, map[string][]string{"GET /api/jobs/x": {failed}}, "wait", "x", "-o", "json")
	var j struct{ Status string }
	if !errors.Is(err, ErrJobFailed) || json.Unmarshal([]byte(out), &j) != nil || j.Status != "failed" || stderr != "" {
		t.Errorf("as JSON: got %v, %q, %q", err, out, stderr)
	}
}

func TestListsAndTables(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, call, answer string
		args, want         []string
	}{
		{"containers, with the rest counted", "GET /api/containers", `{"containers":[` + oneContainer + `],"total":8}`, []string{"list", "--status", "running"}, []string{"abc", "alice", "and 7 older"}},
		{"jobs", "GET /api/jobs", `{"jobs":[` + failed + `],"total":1}`, []string{"jobs"}, []string{"container-create:abc:1", "failed", "No such image."}},
		{"keys", "GET /api/keys", `{"keys":[{"name":"root","role":"admin","source":"environment"}]}`, []string{"keys"}, []string{"root", "environment"}},
		{"a new key", "POST /api/keys", `{"name":"c","key":"berth_secret"}`, []string{"keys", "create", "c", "--bucket", "c-*"}, []string{"berth_secret"}},
		{"a check", "POST /api/containers/check", `{"fits":false,"why":"No node has room.","nodes":[{"hostname":"n1","why":"0.25 CPU is needed."}]}`, []string{"check", "ws"}, []string{"n1", "0.25 CPU", "No node has room."}},
		{"a container", "GET /api/containers/abc", oneContainer, []string{"get", "abc"}, []string{"abc", "running"}},
		{"a stop without waiting", "DELETE /api/containers/abc", `{"id":"container-stop:abc:1","status":"queued"}`, []string{"stop", "abc", "--no-wait", "--force"}, []string{"container-stop:abc:1 queued"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			out, _, a, err := berth(t, map[string][]string{tc.call: {tc.answer}}, tc.args...)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					t.Errorf("got %q, want %q in it", out, want)
				}
			}
			if tc.name == "a stop without waiting" && a.queries[tc.call] != "force=true" {
				t.Errorf("asked with %q", a.queries[tc.call])
			}
			out, _, _, err = berth(t, map[string][]string{tc.call: {tc.answer}}, append(tc.args, "-o", "json")...)
			if err != nil || !json.Valid([]byte(out)) {
				t.Errorf("as JSON: got %q, %v", out, err)
			}
		})
	}
}

func TestErrorsNameTheRequest(t *testing.T) {
	t.Parallel()
	_, _, _, err := berth(t, nil, "get", "abc")
	if err == nil || err.Error() != "There is nothing here. (NOT_FOUND, request req-1)" {
		t.Errorf("got %v", err)
	}
	if _, _, _, err := berth(t, map[string][]string{"GET /api/containers/abc": {"<html>"}}, "get", "abc"); err == nil || !strings.Contains(err.Error(), "is no Berth API") {
		t.Errorf("another server: got %v", err)
	}
	g := Globals{}
	g.Bind(t.Context(), nil, io.Discard, io.Discard)
	if err := g.call("GET", "/", nil, nil, nil); err == nil || !strings.Contains(err.Error(), "BERTH_API_KEY") {
		t.Errorf("no key: got %v", err)
	}
}
