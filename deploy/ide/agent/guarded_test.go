package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"berth/internal/ide"
)

// TestNothingBeginsBeforeTheNodeIsFiltered: a guarded agent starts no program
// and lets nobody in until it is told to open.
func TestNothingBeginsBeforeTheNodeIsFiltered(t *testing.T) {
	t.Parallel()
	log := &logs{}
	a, err := newAgent(config{ID: testID, Workspace: t.TempDir(), Secrets: testSecrets, Grace: defaultGrace, Guarded: true}, slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.root.Close()
	p, printed := newTestProgram("serve", "127.0.0.1:0")
	a.programs = []*program{p}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- a.run(ctx, func(context.Context, string, uint16) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") })
	}()
	log.find(t, "agent runs")

	ask := func(method, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Authorization", "Bearer agent-token")
		w := httptest.NewRecorder()
		a.control().ServeHTTP(w, r)
		return w
	}
	ready := func() (s status) {
		if err := json.Unmarshal(ask("GET", statusPath).Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := ready(); s.Ready || !strings.Contains(s.Message, "isolation") {
		t.Errorf("before it is opened: got %+v, want not ready, and why", s)
	}
	for _, port := range []string{"vnc", "code", "web"} {
		if w := do(a, port, httptest.NewRequest("GET", "/", nil)); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s before it is opened: got %d, want 503 and when to come again", port, w.Code)
		}
	}
	if p.now().Running {
		t.Error("a program runs before it is opened")
	}
	for range 2 { // a worker that is new tells it again
		if w := ask("POST", ide.AgentOpenPath); w.Code != http.StatusNoContent {
			t.Fatalf("open: got %d, want 204", w.Code)
		}
	}
	printed.find(t, "program is up")
	if s := ready(); !s.Ready {
		t.Errorf("after it is opened: got %+v, want ready", s)
	}
	if w := do(a, "code", httptest.NewRequest("GET", "/", nil)); w.Code == http.StatusServiceUnavailable {
		t.Error("the editor is shut after it is opened")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
