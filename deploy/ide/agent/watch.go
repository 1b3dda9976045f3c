package main

import (
	"context"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// mostWatches bounds the directories of one container that are watched: the
	// kernel's limit (fs.inotify.max_user_watches) is one for uid 1000 of the
	// whole node. What lies beyond is seen by the saves at each interval.
	mostWatches = 4096
	// mostDirty bounds the paths that are remembered.
	mostDirty = 10_000
)

// watch tells when a burst of writes in the workspace is over. It is a hint
// that costs nothing while nothing happens; what it misses (files mapped into
// memory, directories beyond the limit) waits for the next interval.
type watch struct {
	notify *fsnotify.Watcher
	log    *slog.Logger
	done   chan struct{} // closed when its goroutine has ended

	mu      sync.Mutex
	dirty   map[string]bool
	last    time.Time     // of the last event
	changed chan struct{} // has room for one: something was written

	watched int  // directories, at most; of the goroutine that adds
	full    bool // and whether some were left out
}

// newWatch returns a watch of a directory and all below it; one that cannot be
// watched has a watch that says nothing.
func newWatch(dir string, log *slog.Logger) *watch {
	w := &watch{log: log, dirty: map[string]bool{}, changed: make(chan struct{}, 1), done: make(chan struct{})}
	n, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("workspace is not watched: it is saved at each interval only", "err", err)
		close(w.done)
		return w
	}
	w.notify = n
	w.add(dir)
	go w.read(dir)
	return w
}

// add watches a directory and those below it.
func (w *watch) add(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // it has gone again, or is no directory
		}
		if w.watched >= mostWatches {
			w.watched = len(w.notify.WatchList()) // those of removed folders are gone
		}
		if w.watched < mostWatches && w.notify.Add(path) == nil {
			w.watched++
			return nil
		}
		if !w.full {
			w.full = true
			w.log.Info("not every folder is watched: what is written there is saved at each interval", "most", mostWatches)
		}
		return filepath.SkipAll
	})
}

func (w *watch) read(dir string) {
	defer close(w.done)
	for {
		select {
		case e, ok := <-w.notify.Events:
			if !ok {
				return
			}
			if e.Op == fsnotify.Chmod && filepath.Clean(e.Name) == dir {
				continue
			}
			if e.Has(fsnotify.Create) {
				if info, err := os.Lstat(e.Name); err == nil && info.IsDir() {
					w.add(e.Name)
				}
			}
			w.note(e.Name)
		case _, ok := <-w.notify.Errors: // of an overflow: events are missing
			if !ok {
				return
			}
			w.note("")
		}
	}
}

func (w *watch) note(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = time.Now()
	if len(w.dirty) < mostDirty {
		w.dirty[path] = true
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// count is how many paths were touched since the last save began.
func (w *watch) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.dirty)
}

// begin forgets what was touched: a save begins. undo brings it back when the
// save has failed.
func (w *watch) begin() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.dirty
	w.dirty = map[string]bool{}
	select {
	case <-w.changed:
	default:
	}
	return was
}

func (w *watch) undo(was map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(w.dirty, was)
}

// settled returns a channel that is closed when something was written and
// nothing has been for a while.
func (w *watch) settled(ctx context.Context) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		select {
		case <-w.changed:
		case <-ctx.Done():
			return
		}
		for {
			w.mu.Lock()
			left := quiet - time.Since(w.last)
			w.mu.Unlock()
			if left <= 0 {
				close(over)
				return
			}
			if pause(ctx, left); ctx.Err() != nil {
				return
			}
		}
	}()
	return over
}

func (w *watch) close() {
	if w == nil || w.notify == nil {
		return
	}
	w.notify.Close()
	<-w.done
}
