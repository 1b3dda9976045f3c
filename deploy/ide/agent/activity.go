package main

import (
	"context"
	"os"
	"time"
)

const (
	activityVariable = "BERTH_ACTIVITY_FILE"
	activityFile     = "active" // the VS Code extension touches it while somebody works there
	activityEvery    = 5 * time.Second
)

// activity is the last thing a person did, and where. A tab that is merely open
// is none: on the ports of editor and desktop neither requests nor open
// connections count.
type activity struct {
	At     time.Time `json:"at"`
	Source string    `json:"source"` // start, editor, desktop or web
}

// touch notes that a person did something.
func (a *agent) touch(source string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = activity{At: a.now().UTC(), Source: source}
}

// touchAt notes what was done earlier, unless something later is known.
func (a *agent) touchAt(source string, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at.After(a.last.At) {
		a.last = activity{At: at.UTC(), Source: source}
	}
}

// lastActivity looks at the editor's file first, which may be newer than the
// last look.
func (a *agent) lastActivity() activity {
	if info, err := os.Stat(a.file(activityFile)); err == nil {
		a.touchAt("editor", info.ModTime())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// watchDesktop asks X for the last input while somebody sees the desktop, and
// once more after.
func (a *agent) watchDesktop(ctx context.Context, tick <-chan time.Time) {
	seen := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		sees := a.desktop.watching.Load() > 0
		if sees || seen {
			if at, ok := a.desktop.lastInput(ctx); ok {
				a.touchAt("desktop", at)
			}
		}
		seen = sees
	}
}
