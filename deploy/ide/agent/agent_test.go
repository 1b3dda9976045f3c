package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"
)

const testID = "k3xqh5zt2mwfa"

// visitor has connections of its own: an httptest.Server that closes closes the
// idle ones of http.DefaultTransport, those of other tests with them.
var visitor = &http.Client{Transport: &http.Transport{}}

var testSecrets = ide.Secrets{AgentToken: "agent-token", VNCPassword: "vnc-pass", CodePassword: "code-password"}

// logs is a place for log lines of several goroutines.
type logs struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{} // closed and made anew with every line, if somebody waits
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return l.b.Write(p)
}

// find waits for a match, and returns what its groups hold.
func (l *logs) find(t *testing.T, expr string) []string {
	t.Helper()
	re := regexp.MustCompile(expr)
	for {
		l.mu.Lock()
		m := re.FindStringSubmatch(l.b.String())
		if l.more == nil {
			l.more = make(chan struct{})
		}
		more := l.more
		l.mu.Unlock()
		if m != nil {
			return m
		}
		select {
		case <-more:
		case <-t.Context().Done():
			t.Fatalf("no %s in\n%s", expr, l)
		case <-time.After(time.Minute):
			t.Fatalf("no %s in\n%s", expr, l)
		}
	}
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newTestAgent returns an agent over a new workspace, not running.
func newTestAgent(t *testing.T) (*agent, *logs) {
	t.Helper()
	log := &logs{}
	a, err := newAgent(config{ID: testID, Workspace: t.TempDir(), Secrets: testSecrets, Grace: defaultGrace}, slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.root.Close() })
	return a, log
}

// put writes a file into an agent's workspace.
func put(t *testing.T, a *agent, name, text string) {
	t.Helper()
	full := filepath.Join(a.cfg.Workspace, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// do asks one of a's users' ports, "code", "vnc" or "web".
func do(a *agent, port string, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	for _, s := range a.services {
		if s.port.Name == port {
			a.own(s).ServeHTTP(w, r)
		}
	}
	return w
}

func TestPorts(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secrets")
	b, _ := json.Marshal(testSecrets)
	if err := os.WriteFile(file, b, 0o400); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"BERTH_ID": testID, "BERTH_SECRET_FILE": file, "BERTH_WORKSPACE": filepath.Join(t.TempDir(), "a", "b")}
	var mu sync.Mutex
	addrs := map[uint16]string{}
	opened := make(chan struct{})
	listen := func(ctx context.Context, _ string, port uint16) (net.Listener, error) {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		if addrs[port] = "http://" + l.Addr().String(); len(addrs) == 4 {
			close(opened)
		}
		return l, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := &logs{}
	ended := make(chan error, 1)
	go func() {
		ended <- start(ctx, func(k string) string { return env[k] }, slog.New(slog.NewJSONHandler(log, nil)), listen)
	}()
	select {
	case <-opened:
	case err := <-ended:
		t.Fatalf("ended: %v", err)
	}
	if err := health(t.Context(), addrs[ide.AgentPort]); err != nil {
		t.Errorf("health: %v", err)
	}
	for _, c := range []struct {
		port   uint16
		path   string
		token  string
		status int
		body   string
	}{
		{6080, "/healthz", "", 200, `{"status":"alive"}`},
		{8080, "/healthz", "", 200, `{"status":"alive"}`},
		{3000, "/", "", 502, testID},
		{6080, "/", "", 401, "AUTHENTICATION_FAILED"},
		{8080, "/", "", 401, "AUTHENTICATION_FAILED"},
		{9000, "/_berth/alive", "", 204, ""},
		{9000, "/_berth/status", "", 401, ""},
		{9000, "/_berth/status", "Bearer wrong", 401, ""},
		{9000, "/_berth/status", "agent-token", 401, ""},
		{9000, "/_berth/status", "Bearer agent-token", 200, `"id":"` + testID + `"`},
		{9000, "/other", "", 401, ""},
		{9000, "/other", "Bearer agent-token", 404, ""},
	} {
		r, _ := http.NewRequest("GET", addrs[c.port]+c.path, nil)
		r.Header.Set("Authorization", c.token)
		res, err := visitor.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != c.status || !strings.Contains(string(body), c.body) {
			t.Errorf("%d%s with %q: got %d %s, want %d %s", c.port, c.path, c.token, res.StatusCode, body, c.status, c.body)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("after the signal: got %v, want a clean end", err)
	}
	if err := health(t.Context(), addrs[ide.AgentPort]); err == nil {
		t.Error("health says fine of an agent that has ended")
	}
	for _, secret := range []string{"agent-token", "vnc-pass", "code-password"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
}

func TestHealthDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := health(ctx, "http://"+silent.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestRunLetsRequestsFinish ends an agent in the middle of an answer.
func TestRunLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	a, _ := newTestAgent(t)
	inside, finish := make(chan struct{}), make(chan struct{})
	a.services = a.services[:1]
	a.services[0].handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(inside)
		<-finish
		io.WriteString(w, "done")
	})
	addr := make(chan string, 2)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- a.run(ctx, func(context.Context, string, uint16) (net.Listener, error) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				addr <- l.Addr().String()
			}
			return l, err
		})
	}()
	got := make(chan string, 1)
	go func() {
		res, err := visitor.Get("http://" + <-addr)
		if err != nil {
			got <- err.Error()
			return
		}
		b, _ := io.ReadAll(res.Body)
		got <- string(b)
	}()
	<-inside
	if n := a.services[0].connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	cancel()
	close(finish)
	if body := <-got; body != "done" {
		t.Errorf("got %q, want the whole answer", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRunFailsWhenAPortIsTaken(t *testing.T) {
	t.Parallel()
	a, _ := newTestAgent(t)
	err := a.run(t.Context(), func(context.Context, string, uint16) (net.Listener, error) { return nil, errors.New("in use") })
	if err == nil || !strings.Contains(err.Error(), "6080") {
		t.Errorf("got %v, want an error with the port", err)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	a, _ := newTestAgent(t)
	get := func() (s status) {
		t.Helper()
		r := httptest.NewRequest("GET", statusPath, nil)
		r.Header.Set("Authorization", "Bearer agent-token")
		w := httptest.NewRecorder()
		a.control().ServeHTTP(w, r)
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
			t.Fatalf("%v in %s", err, w.Body)
		}
		return s
	}
	s := get()
	if s.Ready || s.LastActivity.Source != "start" || len(s.Services) != 3 || s.Services[2].Up || s.Version == "" {
		t.Errorf("before it runs: got %+v", s)
	}
	a.ready.Store(true)
	put(t, a, "public/index.html", "hi")
	if s = get(); !s.Ready || !s.Services[2].Up || s.Services[2].Name != "web" || s.Services[2].Port != 3000 {
		t.Errorf("with a page: got %+v, want ready and web up", s)
	}

	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	a.now = func() time.Time { return noon }
	do(a, "web", httptest.NewRequest("GET", "/healthz", nil))
	do(a, "code", httptest.NewRequest("GET", "/healthz", nil))
	if s = get(); s.LastActivity.Source != "start" {
		t.Errorf("after health checks: got %+v, want none", s.LastActivity)
	}
	do(a, "web", httptest.NewRequest("GET", "/", nil))
	if s = get(); s.LastActivity != (activity{noon, "web"}) {
		t.Errorf("after a visit: got %+v", s.LastActivity)
	}
}

func TestRefusesWhatIsMeantForAnother(t *testing.T) {
	t.Parallel()
	a, _ := newTestAgent(t)
	for host, want := range map[string]int{
		testID + "-code.example.com":                  200,
		strings.ToUpper(testID) + "-code.example.com": 200,
		"10.0.1.5:8080":                               200,
		"b2b2b2b2b2b2b-code.example.com":              421,
	} {
		r := httptest.NewRequest("GET", "/healthz", nil)
		r.Host = host
		if w := do(a, "code", r); w.Code != want {
			t.Errorf("%s: got %d, want %d", host, w.Code, want)
		}
	}
}
