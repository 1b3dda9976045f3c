package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"berth/internal/ide"
	"berth/internal/workspace"
)

// How long the keeper waits between two tries to restore, and after a save that
// has failed.
const (
	restorePause = 2 * time.Second
	savePause    = 5 * time.Second
	// quiet is how long a burst of writes must be over before it is saved.
	quiet = 2 * time.Second
)

// keeper keeps the workspace in its bucket: it restores it before anything can
// be edited, saves it while it is edited, and once more when it is quiet.
type keeper struct {
	place  ide.Place
	dir    string
	resume bool // of a saver: nothing is brought
	log    *slog.Logger
	bucket *workspace.Bucket
	have   chan struct{} // closed once there are credentials
	ready  chan struct{} // closed once the workspace may be edited and saved
	wake   chan struct{} // asks for a save now

	mu        sync.Mutex
	ws        *workspace.Workspace
	status    ide.WorkspaceStatus
	asked     int64 // number of the last ask for a save
	finishing bool
	saving    int // saves under way
	watch     *watch
}

// newKeeper returns nil where a workspace is kept nowhere.
func newKeeper(cfg config, log *slog.Logger) (*keeper, error) {
	if cfg.Place == nil {
		return nil, nil
	}
	k := &keeper{
		place: *cfg.Place, dir: cfg.Workspace, resume: cfg.SaveOnly, log: log,
		have: make(chan struct{}), ready: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	k.status.Kept = true
	// Who only saves was started because something here may not be saved.
	k.place.Unsaved = k.place.Unsaved || k.resume
	var err error
	s := cfg.Secrets
	k.bucket, err = workspace.Open(k.place, ide.S3Credentials{AccessKey: s.AWSAccessKeyID, SecretKey: s.AWSSecretAccessKey})
	if err != nil {
		return nil, fmt.Errorf("open bucket: %w", err)
	}
	if !k.place.Role {
		close(k.have)
	}
	return k, nil
}

// setCredentials takes those that the control plane has minted.
func (k *keeper) setCredentials(c ide.S3Credentials) {
	k.bucket.SetCredentials(workspace.Credentials{AccessKey: c.AccessKey, SecretKey: c.SecretKey, Token: c.Token})
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.have:
	default:
		close(k.have)
	}
}

func (k *keeper) change(f func(*ide.WorkspaceStatus)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(&k.status)
}

// now is what the control plane is told.
func (k *keeper) now() ide.WorkspaceStatus {
	if k == nil {
		return ide.WorkspaceStatus{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.status
	s.Saving = k.saving > 0
	if k.watch != nil {
		s.Dirty = k.watch.count()
	}
	if s.LastSave != nil {
		last := *s.LastSave
		s.LastSave = &last
	}
	return s
}

// restore brings the workspace, trying until it succeeds, ctx ends, or what is
// wrong stays.
func (k *keeper) restore(ctx context.Context) bool {
	select {
	case <-k.have:
	case <-ctx.Done():
		return false
	}
	for {
		err := k.tryRestore(ctx)
		if err == nil {
			close(k.ready)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		k.log.Warn("workspace is not restored", "err", err)
		k.change(func(s *ide.WorkspaceStatus) {
			s.Error = ide.FailureOf(err, time.Now().UTC())
			s.Nothing = errors.Is(err, workspace.ErrNotRestored)
			s.Lost = errors.Is(err, workspace.ErrTaken)
		})
		if ide.IsPermanent(err) && !errors.Is(err, workspace.ErrInUse) {
			return false
		}
		pause(ctx, restorePause)
	}
}

func (k *keeper) tryRestore(ctx context.Context) error {
	var ws *workspace.Workspace
	var r workspace.Restored
	var err error
	if k.resume {
		ws, err = k.bucket.Resume(ctx, k.dir)
	} else {
		ws, r, err = k.bucket.Restore(ctx, k.dir, func(p workspace.Progress) {
			k.change(func(s *ide.WorkspaceStatus) {
				s.Moved = &ide.Moved{Files: p.Files, TotalFiles: p.TotalFiles, Bytes: p.Bytes, TotalBytes: p.TotalBytes}
			})
		})
	}
	if err == nil && k.place.Claim && !k.resume {
		if _, err = ws.Claim(ctx); err != nil {
			err = errors.Join(err, ws.Close())
		}
		if errors.Is(err, workspace.ErrTaken) { // the other was quicker: its work is brought
			err = ide.Transient(ide.Conflict, err, "Another writer has saved in the meantime: its work is restored.")
		}
	}
	if err != nil {
		return err
	}
	w := newWatch(k.dir, k.log)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ws, k.watch = ws, w
	k.status.Restored, k.status.Error, k.status.Moved = true, nil, nil
	if !k.resume {
		k.status.Restore = &ide.Restored{
			Generation: r.Generation, Files: r.Files, Bytes: r.Bytes, Seconds: r.Took.Seconds(), Local: r.Local,
			Outside: few(r.Outside), Overruled: few(r.Overruled), Skipped: inWords(r.Skipped, len(r.Skipped), "left out"),
			Recovered: r.Recovered, RecoveredFiles: r.RecoveredFiles, Doubted: r.Doubted, BroughtBack: r.BroughtBack,
		}
		k.log.Info("workspace is restored", "generation", r.Generation, "files", r.Files, "bytes", r.Bytes, "took", r.Took.Seconds(), "local", r.Local)
		if r.Local {
			k.askLocked() // what a crash kept from being saved
		}
	}
	return nil
}

// run saves until ctx ends: at each interval, when a burst of writes is over,
// and when it is asked to.
func (k *keeper) run(ctx context.Context) {
	interval := time.Duration(k.place.Interval) * time.Second
	next := time.Now().Add(interval)
	for {
		wait, stop := context.WithDeadline(ctx, next)
		select {
		case <-wait.Done():
		case <-k.wake:
		case <-k.watch.settled(wait):
		}
		stop()
		if ctx.Err() != nil {
			return
		}
		if _, err := k.save(ctx); err != nil && ctx.Err() == nil {
			if k.now().Lost {
				return
			}
			pause(ctx, savePause) // and then whatever asks next
		}
		next = time.Now().Add(interval)
	}
}

// ask asks for a save that holds all that was written until now.
func (k *keeper) ask() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.askLocked()
}

func (k *keeper) askLocked() int64 {
	k.asked++
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return k.asked
}

// save saves once, and notes what came of it.
func (k *keeper) save(ctx context.Context) (*ide.LastSave, error) {
	return k.saveBy(ctx, (*workspace.Workspace).Save)
}

// saveBy saves by a method of the workspace: Save, or Finish when the programs
// have ended.
func (k *keeper) saveBy(ctx context.Context, save func(*workspace.Workspace, context.Context) (workspace.Saved, error)) (*ide.LastSave, error) {
	k.mu.Lock()
	number, ws, began := k.asked, k.ws, time.Now().UTC()
	k.saving++
	touched := k.watch.begin()
	k.mu.Unlock()
	s, err := save(ws, ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.saving--
	k.status.Done = max(k.status.Done, number)
	if err != nil {
		k.watch.undo(touched)
		last := ide.LastSave{Generation: ws.Generation()}
		if k.status.LastSave != nil {
			last = *k.status.LastSave
		}
		last.Error = ide.FailureOf(err, time.Now().UTC())
		k.status.LastSave = &last
		k.status.Lost = k.status.Lost || errors.Is(err, workspace.ErrTaken)
		k.log.Warn("workspace is not saved", "err", err, "lost", k.status.Lost)
		return nil, err
	}
	if s.Trouble != nil {
		k.log.Warn("after a save", "err", s.Trouble)
	}
	last := &ide.LastSave{
		Generation: s.Generation, At: began, Files: s.Files, Bytes: s.Bytes, Seconds: s.Took.Seconds(),
		LeftOut: s.LeftOutCount, Ignored: s.Ignored, IgnoredBytes: s.IgnoredBytes, Recovered: s.Recovered,
	}
	k.status.LastSave, k.status.Notes = last, notes(s)
	k.status.LeftOut = inWords(s.LeftOut, s.LeftOutCount, "left out")
	if s.Changed {
		k.log.Info("workspace is saved", "generation", s.Generation, "files", s.Files, "sent", s.Sent, "bytes", s.SentBytes, "took", s.Took.Seconds())
	}
	return last, nil
}

// finish saves, has the programs ended, and saves the quiet tree. It runs in
// the background, once at a time; the answer is the number of the try.
func (k *keeper) finish(ctx context.Context, anew bool, endPrograms func()) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	number := k.status.Tries + 1
	if k.finishing {
		return number
	}
	k.finishing, k.status.Finished, k.status.Finish = true, false, nil
	go func() {
		err := k.tryFinish(ctx, anew, endPrograms)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.finishing = false
		k.status.Tries++
		if k.status.Finished = err == nil; err != nil {
			k.status.Finish = ide.FailureOf(err, time.Now().UTC())
		}
	}()
	return number
}

func (k *keeper) tryFinish(ctx context.Context, anew bool, endPrograms func()) error {
	k.mu.Lock()
	ws, failure := k.ws, k.status.Error
	k.mu.Unlock()
	if ws == nil {
		if failure != nil {
			return failure.Err()
		}
		return ide.Transient(ide.Conflict, nil, "The workspace is not restored yet.")
	}
	if anew {
		ws.Distrust()
	}
	if _, err := k.save(ctx); err != nil {
		return err // the programs go on: nobody should lose them to a store that fails
	}
	endPrograms()
	_, err := k.saveBy(ctx, (*workspace.Workspace).Finish)
	return err
}

// last saves what is there at the end, unless it was saved when it was quiet.
func (k *keeper) last(ctx context.Context) {
	k.mu.Lock()
	needed := k.ws != nil && !k.status.Finished && !k.status.Lost
	k.mu.Unlock()
	for needed && ctx.Err() == nil {
		if _, err := k.saveBy(ctx, (*workspace.Workspace).Finish); err == nil || ide.IsPermanent(err) {
			return
		}
		pause(ctx, time.Second)
	}
}

// close gives the directory free.
func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.watch.close()
	if k.ws != nil {
		if err := k.ws.Close(); err != nil {
			k.log.Warn("workspace is not closed", "err", err)
		}
	}
}

// mostNamed is how many paths an event names.
const mostNamed = 20

func few(paths []string) []string { return paths[:min(len(paths), mostNamed)] }

// inWords names some of the paths that something is to be said of.
func inWords(list []workspace.Note, count int, what string) (all []string) {
	for _, n := range list[:min(len(list), mostNamed)] {
		all = append(all, fmt.Sprintf("%q: %s", n.Path, n.Reason))
	}
	if more := count - mostNamed; more > 0 {
		all = append(all, fmt.Sprintf("and %d more %s", more, what))
	}
	return all
}

// notes says in words what a save has not done as a person may expect it, beside
// what it has left out.
func notes(s workspace.Saved) []string {
	var conflicts []workspace.Note
	for _, p := range s.Mirror.Conflicts {
		conflicts = append(conflicts, workspace.Note{Path: p, Reason: "another program has written the plain file, which wins at the next restore"})
	}
	return slices.Concat(
		inWords(s.Special, s.SpecialCount, "that are no files"),
		inWords(s.Unsettled, s.UnsettledCount, "that would not hold still"),
		inWords(s.Mirror.Unmirrored, s.Mirror.UnmirroredCount, "without a plain copy"),
		inWords(conflicts, len(conflicts), "written by other programs"),
	)
}
