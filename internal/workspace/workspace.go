// Package workspace keeps the files of a container in a user's S3 bucket. The
// agent inside a container restores and saves with it; a worker verifies with
// it, before anything is removed, that a save is whole.
//
// Below the prefix stands
//
//	.berth/objects/<sha256>      file contents, each once
//	.berth/manifests/<n>.json    one generation: all paths, modes, times, links, hashes
//	.berth/journal/<n>.json      what the author of n does to the plain files, and their ETags
//	.berth/collect/<n>.json      what the author of n is about to delete
//	.berth/claim.json            this prefix is a workspace's, so none is begun above or below
//	.berth/swept                 when unreferenced objects were last looked for
//	<path>                       the plain files, copies for other programs
//
// A manifest is written once, with If-None-Match, after all its objects: so a
// generation is whole, and has one author. Who finds the next number taken has
// lost the place to another writer, keeps its files, and saves no more. A
// restore reads one manifest and never a mixture.
//
// On the volume, beside the folder of the workspace, .berth is Berth's own: what
// came from where (state.json) and files on their way (tmp). Files that gave way
// to a restore are in the workspace, in RecoveredDir.
package workspace

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Workspace is a directory whose files came from a Bucket. Only Restore and
// Resume make one: what was never restored cannot be saved over what is there.
type Workspace struct {
	b      *Bucket
	local  *local
	author string
	before string // who wrote from this directory before, and is gone

	generation atomic.Int64 // header's, without waiting for a save

	mu       sync.Mutex // one save at a time
	header   Header     // of the base; the zero Header before the first generation
	base     map[string]known
	uploads  *uploader
	plain    map[string]plainFile // what is known of the plain files
	inner    inner                // folders that are another workspace's
	journal  journal              // of the base, once its plain files were touched
	ours     bool                 // the base is this author's, so it alone collects
	final    bool                 // no program writes any more
	claim    bool                 // the next save is a generation, also where nothing has changed
	lost     error                // another writer has gone on from the base
	pending  int64                // a commit whose outcome is not known
	settled  bool                 // the restored files are on the disk
	newestAt time.Time            // when the base was last seen to be the newest
}

// Progress of a restore.
type Progress struct {
	Files, TotalFiles int
	Bytes, TotalBytes int64
}

// Restored says what a restore has done.
type Restored struct {
	Generation int64
	Files      int // in the workspace
	Bytes      int64
	Took       time.Duration

	// Local: the files of this directory were at least as new as the bucket's,
	// and stayed. They may hold what was never saved: save first.
	Local bool
	// Doubted: Local, but the state of the directory was missing or older than
	// the newest generation, which is this run's. BroughtBack counts the files of
	// that generation that were not here.
	Doubted     bool
	BroughtBack int
	// Outside lists plain files that another program has written since the last
	// save; they are in the workspace now. Overruled lists those that gave way to
	// a local change.
	Outside, Overruled []string
	// Skipped are things in the bucket that cannot be files here.
	Skipped []Note
	// Recovered is the folder of the workspace with what gave way, "" if nothing
	// did; a directory counts once.
	Recovered      string
	RecoveredFiles int
}

// Saved says what a save has done. Once it is returned without an error, the
// generation is whole in the bucket.
type Saved struct {
	Generation int64
	Changed    bool // a new generation was made
	Files      int
	Bytes      int64
	Sent       int   // objects uploaded
	SentBytes  int64 // their bytes
	Took       time.Duration

	// LeftOut are files, directories and links that are not in the generation, or
	// not in their newest state: their bytes are on the volume only. Special are
	// sockets, pipes and devices, which no save has. Unsettled are files that
	// would not hold still; they are in the generation as they were at one moment.
	LeftOut, Special, Unsettled                []Note
	LeftOutCount, SpecialCount, UnsettledCount int
	Ignored                                    int   // paths left out by the IgnoreFile, a directory counting once
	IgnoredBytes                               int64 // their bytes, counted by Finish
	Recovered                                  int   // files in RecoveredDir

	Mirror    Mirrored
	Collected int // objects deleted
	// Trouble is what went wrong after the generation was committed, with plain
	// files or collecting: the next save tries again.
	Trouble error
}

// Generation returns the generation that the workspace was last saved as or
// restored from. It does not wait for a save that is under way.
func (w *Workspace) Generation() int64 {
	return w.generation.Load()
}

// Close gives the directory free. It does not save.
func (w *Workspace) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.local.close()
}

// Dirty counts the paths that differ, at first sight, from the last save.
func (w *Workspace) Dirty(ctx context.Context) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	dirty := 0
	t, err := w.scan(ctx, func(_ context.Context, p string, t *tree) error {
		t.mu.Lock()
		defer t.mu.Unlock()
		dirty++
		t.entries = append(t.entries, w.base[p])
		t.entries[len(t.entries)-1].Path = p
		return nil
	})
	if err != nil {
		return 0, err
	}
	found := 0
	for _, k := range t.entries {
		was, ok := w.base[k.Path]
		if ok {
			found++
		}
		if k.Kind != "" && (!ok || !sameEntry(was.Entry, k.Entry)) {
			dirty++
		}
	}
	return dirty + len(w.base) - found, nil
}

// Distrust has the next Save read every file and upload every object again:
// for when Verify has found the generation damaged.
func (w *Workspace) Distrust() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, k := range w.base {
		k.looks = looks{}
		w.base[p] = k
	}
	w.uploads.rebase(nil)
}
