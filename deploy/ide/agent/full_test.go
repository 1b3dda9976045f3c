package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newFullAgent returns an agent of the full image, none of whose programs runs.
func newFullAgent(t *testing.T) (*agent, *logs) {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // a socket's name is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	put := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return name
	}
	put("novnc/vnc.html", "<head><title>noVNC</title></head>")
	put("novnc/app/ui.js", "// noVNC")
	log := &logs{}
	a, err := newAgent(config{
		ID: testID, Workspace: filepath.Join(dir, "workspace"), State: filepath.Join(dir, "state"), Secrets: testSecrets,
		Image: image{
			Node: "/proc/self/exe", CodeServer: childArg, Xvnc: "/proc/self/exe", WindowManager: "/proc/self/exe",
			IdleTime: put("idle", "#!/bin/sh\necho 1500\n"), NoVNC: filepath.Join(dir, "novnc"), Shell: "/bin/sh",
			Versions: put("versions.json", `{"codeServer":"4.139.1"}`),
		},
	}, slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.root.Close() })
	return a, log
}

func TestActivity(t *testing.T) {
	t.Parallel()
	a, _ := newFullAgent(t)
	later := time.Now().Add(time.Hour).Truncate(time.Second)
	a.now = func() time.Time { return later }
	if err := os.WriteFile(a.file(activityFile), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(a.file(activityFile), later, later); err != nil {
		t.Fatal(err)
	}
	if at := a.lastActivity(); at != (activity{later.UTC(), "editor"}) {
		t.Errorf("after the extension's touch: got %+v", at)
	}
	a.touchAt("desktop", later.Add(-time.Minute))
	if at := a.lastActivity(); at.Source != "editor" {
		t.Errorf("an earlier one wins: %+v", at)
	}

	a.desktop.x.set(func(s *programState) { s.Up, s.Started = true, later.Add(-time.Minute) })
	if at, ok := a.desktop.lastInput(t.Context()); !ok || !at.Equal(later.Add(-1500*time.Millisecond)) {
		t.Errorf("X idle time: got %v %v", at, ok)
	}
	a.desktop.x.set(func(s *programState) { s.Started = later.Add(-time.Second) })
	if _, ok := a.desktop.lastInput(t.Context()); ok {
		t.Error("the start of the X server counts as input")
	}

	later = later.Add(time.Hour)
	a.desktop.x.set(func(s *programState) { s.Started = later.Add(-time.Minute) })
	tick, ctx := make(chan time.Time), t.Context()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { a.watchDesktop(ctx, tick); close(done) }()
	tick <- later
	tick <- later
	if at := a.lastActivity(); at.Source != "editor" {
		t.Errorf("nobody sees the desktop: got %+v", at)
	}
	a.desktop.watching.Add(1)
	tick <- later
	tick <- later // the first is done
	if at := a.lastActivity(); at.Source != "desktop" {
		t.Errorf("somebody uses the desktop: got %+v", at)
	}
	cancel()
	<-done
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	a, _ := newFullAgent(t)
	a.ready.Store(true)
	if s := a.status(); s.Ready || s.Message != "The desktop is starting." || s.Versions["codeServer"] != "4.139.1" || len(s.Services) != 4 {
		t.Errorf("at first: got %+v", s)
	}
	up := func(p *program, is bool) { p.set(func(s *programState) { s.Up = is }) }
	up(a.desktop.x, true)
	up(a.desktop.wm, true)
	code := a.services[1].program
	code.set(func(s *programState) { s.Restarts, s.LastExit = 2, &exit{Code: 1} })
	if s := a.status(); s.Ready || !strings.Contains(s.Message, "editor has ended 2 times") || s.Services[1].LastExit.Code != 1 {
		t.Errorf("an editor that does not come up: got %+v", s)
	}
	up(code, true)
	if s := a.status(); !s.Ready {
		t.Errorf("all up: got %+v", s)
	}
	up(code, false)
	if s := a.status(); !s.Ready || s.Services[1].Up {
		t.Errorf("after a crash: got %+v, want ready and the editor down", s)
	}
	if b, _ := json.Marshal(a.status()); !strings.Contains(string(b), `"lastExit":{`) {
		t.Errorf("got %s", b)
	}
}
