package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"

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
	cmds.Bind(t.Context(), map[string]string{"BERTH_URL": srv.URL, "BERTH_API_KEY": "key",
		"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "hidden"}, &o, &e)
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
	}, "create", "ws", "--template", "python", "--cpu", "1.5", "--label", "course=1")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := a.bodies["POST /api/containers/start"], `{"s3Bucket":"ws","template":"python","resources":{"cpuLimit":1.5},"labels":{"course":"1"}}`; got != want {
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
		err                error
	}{
		{"containers, with the rest counted", "GET /api/containers", `{"containers":[` + oneContainer + `],"total":8}`, []string{"list", "--status", "running"}, []string{"abc", "alice", "and 7 older"}, nil},
		{"nodes", "GET /api/dashboard/nodes", `{"nodes":[{"id":"x8v","hostname":"node-1","role":"worker","state":"ready","availability":"drain","why":"It is drained."}]}`, []string{"nodes"}, []string{"node-1", "x8v", "drain", "It is drained."}, nil},
		{"the command to join", "GET /api/nodes/join-token", `{"role":"worker","token":"t","command":"docker swarm join --token t 192.0.2.1:2377"}`, []string{"nodes", "join-token"}, []string{"docker swarm join --token t 192.0.2.1:2377"}, nil},
		{"containers that are not saved", "GET /api/containers", `{"containers":[` + oneContainer + `],"total":1}`, []string{"list", "--unsaved"}, []string{"abc"}, nil},
		{"jobs", "GET /api/jobs", `{"jobs":[` + failed + `],"total":1}`, []string{"jobs"}, []string{"container-create:abc:1", "failed", "No such image."}, nil},
		{"a job that is canceled", "DELETE /api/jobs/x", running, []string{"jobs", "cancel", "x"}, []string{"container-create:abc:1 running"}, nil},
		{"a job that is tried again", "POST /api/jobs/x/retry", running, []string{"jobs", "retry", "x", "--no-wait"}, []string{"container-create:abc:1 running"}, nil},
		{"keys", "GET /api/keys", `{"keys":[{"name":"root","role":"admin","source":"environment"}]}`, []string{"keys"}, []string{"root", "environment"}, nil},
		{"a new key", "POST /api/keys", `{"name":"c","key":"berth_secret"}`, []string{"keys", "create", "c", "--bucket", "c-*"}, []string{"berth_secret"}, nil},
		{"a check", "POST /api/containers/check", `{"fits":false,"why":"No node has room.","nodes":[{"hostname":"n1","why":"0.25 CPU is needed."}]}`, []string{"check", "ws"}, []string{"n1", "0.25 CPU", "No node has room."}, ErrNoRoom},
		{"a container", "GET /api/containers/abc", oneContainer, []string{"get", "abc"}, []string{"abc", "running"}, nil},
		{"a stop without waiting", "DELETE /api/containers/abc", `{"id":"container-stop:abc:1","status":"queued"}`, []string{"stop", "abc", "--no-wait", "--force"}, []string{"container-stop:abc:1 queued"}, nil},
		{"webhooks", "GET /api/webhooks", `{"webhooks":[{"id":"w1","url":"https://h.test/x","owner":"alice","disabledAt":"2026-01-02T03:04:05Z","disabledReason":"Gone."},{"id":"w2","url":"https://h.test/y","failures":3,"waiting":2}]}`, []string{"webhooks"}, []string{"https://h.test/x", "disabled: Gone.", "failing", "all"}, nil},
		{"a new webhook", "POST /api/webhooks", `{"id":"w1","secret":"whsec_x"}`, []string{"webhooks", "create", "https://h.test/x", "--event", "job.failed"}, []string{"w1", "whsec_x"}, nil},
		{"deliveries", "GET /api/webhooks/w1/deliveries", `{"deliveries":[{"id":"1-0","type":"job.failed","status":"waiting","attemptCount":1,"attempts":[{"status":500,"error":"It answered 500."}]}],"total":3}`, []string{"webhooks", "deliveries", "w1"}, []string{"1-0", "job.failed", "It answered 500.", "and 2 older"}, nil},
		{"a redelivery", "POST /api/webhooks/w1/deliveries/1-0/redeliver", `{"id":"1-0","status":"waiting"}`, []string{"webhooks", "redeliver", "w1", "1-0"}, []string{"1-0 waiting"}, nil},
		{"a log", "GET /api/containers/abc/logs", ": hello\n\nid: 1-0\nevent: line\ndata: {\"id\":\"1-0\",\"at\":\"2026-01-02T03:04:05.678Z\",\"text\":\"it begins\"}\n\n", []string{"logs", "abc", "-n", "5", "--since", "10m"}, []string{"2026-01-02T03:04:05.678Z it begins\n"}, nil},
		{"a rotation", "POST /api/webhooks/w1/rotate", `{"id":"w1","secret":"whsec_y"}`, []string{"webhooks", "rotate", "w1"}, []string{"whsec_y"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			out, _, a, err := berth(t, map[string][]string{tc.call: {tc.answer}}, tc.args...)
			if !errors.Is(err, tc.err) {
				t.Fatalf("got %v, want %v", err, tc.err)
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					t.Errorf("got %q, want %q in it", out, want)
				}
			}
			if tc.name == "containers that are not saved" && !strings.Contains(a.queries[tc.call], "unsaved=true") {
				t.Errorf("asked with %q", a.queries[tc.call])
			}
			if tc.name == "a stop without waiting" && a.queries[tc.call] != "force=true" {
				t.Errorf("asked with %q", a.queries[tc.call])
			}
			out, _, _, err = berth(t, map[string][]string{tc.call: {tc.answer}}, append(tc.args, "-o", "json")...)
			if !errors.Is(err, tc.err) || !json.Valid([]byte(out)) {
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

func TestATerminalShowsTheStepThatRuns(t *testing.T) {
	t.Parallel()
	var err bytes.Buffer
	g := Globals{Output: "table", err: &err, live: true}
	steps := []ide.Step{{Name: "queue", Status: ide.StepDone, Seconds: 0.01}, {Name: "save", Status: ide.StepRunning, StartedAt: time.Now(), Message: "12 of 40 files"}}
	shown := g.steps(steps, 0)
	if got := err.String(); shown != 1 || !strings.HasSuffix(got, "12 of 40 files") || !strings.Contains(got, "queue") {
		t.Errorf("got %d shown, %q", shown, got)
	}
	steps[1].Status = ide.StepDone
	if g.steps(steps, shown); !strings.Contains(err.String(), "12 of 40 files\r\x1b[K  save") {
		t.Errorf("the line of the running step is not overwritten: %q", err.String())
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		code int
		told bool
	}{{nil, 0, true}, {errors.New("refused"), 1, false}, {ErrJobFailed, 2, true}, {fmt.Errorf("wait: %w", ErrNoRoom), 3, true}, {ErrUnwell, 4, true}} {
		if code, told := ExitCode(tc.err); code != tc.code || told != tc.told {
			t.Errorf("%v: got %d, %t, want %d, %t", tc.err, code, told, tc.code, tc.told)
		}
	}
}

func TestCompletionOfEachShell(t *testing.T) {
	t.Parallel()
	for shell, want := range map[string]string{"bash": "complete -C berth berth", "zsh": "bashcompinit", "fish": "complete -f -c berth"} {
		out, _, _, err := berth(t, nil, "completion", shell)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: got %q, %v", shell, out, err)
		}
		if path, lerr := exec.LookPath(shell); lerr == nil {
			cmd := exec.Command(path, "-n") // reads without running
			cmd.Stdin = strings.NewReader(out)
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s cannot read it: %v %s", shell, err, text)
			}
		}
	}
}

func TestKeepalive(t *testing.T) {
	t.Parallel()
	const answer = `{"stopsAt":"2030-01-02T03:04:05Z","reason":"inactivity","timeout":600}`
	for name, tc := range map[string]struct {
		args []string
		body string
	}{
		"for its timeout": {nil, ""},
		"until":           {[]string{"--until", "2030-01-02T03:04:05Z"}, `{"until":"2030-01-02T03:04:05Z"}`},
	} {
		out, _, a, err := berth(t, map[string][]string{"POST /api/containers/abc/keepalive": {answer}}, append([]string{"keepalive", "abc"}, tc.args...)...)
		if err != nil || !strings.Contains(out, "stops at 2030-01-02T03:04:05Z") || a.bodies["POST /api/containers/abc/keepalive"] != tc.body {
			t.Errorf("%s: got %q, %v, sent %v", name, out, err, a.bodies)
		}
	}
	_, _, a, err := berth(t, map[string][]string{"POST /api/containers/abc/keepalive": {answer}}, "keepalive", "abc", "--for", "2h")
	if err != nil || !strings.Contains(a.bodies["POST /api/containers/abc/keepalive"], `"until":"`) {
		t.Errorf("got %v, sent %v", err, a.bodies)
	}
}

func TestProbeShowsTheHealth(t *testing.T) {
	t.Parallel()
	out, _, _, err := berth(t, map[string][]string{
		"POST /api/containers/abc/probe":      {`{"id":"container-probe:abc:1"}`},
		"GET /api/jobs/container-probe:abc:1": {succeeded},
		"GET /api/containers/abc":             {`{"id":"abc","health":{"status":"unhealthy","checks":{"codeServer":true}}}`},
	}, "probe", "abc")
	if err != nil || out != "unhealthy: editor true, desktop false, web false\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	const one = `{"name":"idle-sweep","cron":"@every 15s","last":"2026-01-02T03:04:05Z","lastJob":{"status":"succeeded"},"paused":{"by":"root"}}`
	out, _, _, err := berth(t, map[string][]string{"GET /api/schedules": {`{"schedules":[` + one + `]}`}}, "schedules")
	if err != nil || !strings.Contains(out, "idle-sweep") || !strings.Contains(out, "paused by root") || !strings.Contains(out, "succeeded") {
		t.Errorf("list: got %q, %v", out, err)
	}
	for _, verb := range []string{"pause", "resume"} {
		out, _, _, err := berth(t, map[string][]string{"POST /api/schedules/idle-sweep/" + verb: {one}}, "schedules", verb, "idle-sweep")
		if err != nil || !strings.Contains(out, "idle-sweep") {
			t.Errorf("%s: got %q, %v", verb, out, err)
		}
	}
	_, _, _, err = berth(t, map[string][]string{
		"POST /api/schedules/idle-sweep/run": {`{"id":"sweep-idle::1"}`}, "GET /api/jobs/sweep-idle::1": {succeeded},
	}, "schedules", "run", "idle-sweep")
	if err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestNodesAndMoves(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		call, body string
		args       []string
	}{
		{"POST /api/nodes/node-1/drain", "", []string{"nodes", "drain", "node-1"}},
		{"POST /api/nodes/node-1/activate", "", []string{"nodes", "activate", "node-1"}},
		{"DELETE /api/nodes/node-1", "", []string{"nodes", "remove", "node-1"}},
		{"PUT /api/nodes/node-1/labels", `{"labels":{"gpu":"true"}}`, []string{"nodes", "label", "node-1", "--label", "gpu=true"}},
		{"POST /api/containers/abc/move", "", []string{"move", "abc"}},
		{"POST /api/containers/abc/move", `{"node":"node-2"}`, []string{"move", "abc", "--to", "node-2"}},
	} {
		_, stderr, a, err := berth(t, map[string][]string{tc.call: {running}, "GET /api/jobs/container-create:abc:1": {succeeded}}, tc.args...)
		if err != nil || a.bodies[tc.call] != tc.body || !strings.Contains(stderr, "task") {
			t.Errorf("%v: sent %q, %v, %q", tc.args, a.bodies[tc.call], err, stderr)
		}
	}
	_, _, a, err := berth(t, map[string][]string{"POST /api/containers/check": {`{"fits":true}`}}, "check", "ws", "--constraint", "node.labels.gpu==true", "--strategy", "pack", "--generic", "gpu=1")
	if want := `{"s3Bucket":"ws","placement":{"constraints":["node.labels.gpu==true"],"strategy":"pack","generic":["gpu=1"]}}`; err != nil || a.bodies["POST /api/containers/check"] != want {
		t.Errorf("got %s, %v", a.bodies["POST /api/containers/check"], err)
	}
}
