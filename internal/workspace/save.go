package workspace

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"
)

// Save makes the workspace the next generation, or does nothing if it is what
// the last one has. An error means that the last generation is still the one
// before; the files are where they were. ErrTaken is for ever.
func (w *Workspace) Save(ctx context.Context) (Saved, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	began, before := time.Now(), w.header.Generation
	if w.lost != nil {
		return Saved{}, w.lost
	}
	if err := w.local.refresh(); err != nil {
		return Saved{}, err
	}
	if err := w.local.makeTemp(); err != nil { // the user may have removed Berth's folder
		return Saved{}, err
	}
	if err := w.settle(ctx); err != nil {
		return Saved{}, w.remember(err)
	}
	w.uploads.begin()
	t, err := w.scanAndCommit(ctx)
	if t == nil {
		return Saved{}, w.remember(err)
	}
	s := Saved{
		Sent: w.uploads.count, SentBytes: w.uploads.sent, Ignored: t.ignored, IgnoredBytes: t.ignoredBytes,
		LeftOut: t.left.list, LeftOutCount: t.left.count, Special: t.special.list, SpecialCount: t.special.count,
		Unsettled: t.unsettled.list, UnsettledCount: t.unsettled.count,
	}
	if err != nil {
		return s, w.remember(err)
	}
	s.Changed = w.header.Generation != before
	s.Generation, s.Files, s.Bytes = w.header.Generation, w.header.Files, w.header.Bytes
	for p, k := range w.base {
		if k.Kind == File && (strings.HasPrefix(p, RecoveredDir+"/") || strings.HasPrefix(p, RecoveredDir+"-2")) {
			s.Recovered++
		}
	}
	if s.Generation > 0 {
		var mirrorErr, collectErr error
		s.Mirror, mirrorErr = w.mirror(ctx, t)
		if s.Changed {
			s.Collected, collectErr = w.collect(ctx)
		}
		s.Trouble = errors.Join(mirrorErr, collectErr)
	}
	s.Took = time.Since(began)
	return s, nil
}

// Finish saves as Save does, when no program writes any more. It also reads the
// files that may have been written without a trace, such as those mapped into
// memory, and those that their owner has closed to themselves.
func (w *Workspace) Finish(ctx context.Context) (Saved, error) {
	w.setFinal(true)
	defer w.setFinal(false)
	return w.Save(ctx)
}

func (w *Workspace) setFinal(final bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.final, w.uploads.open = final, final
}

// Claim saves as Save does, and makes a generation also where nothing has
// changed: a writer that still has the one before can then save no more.
func (w *Workspace) Claim(ctx context.Context) (Saved, error) {
	w.mu.Lock()
	w.claim = true
	w.mu.Unlock()
	return w.Save(ctx)
}

// scanAndCommit returns the tree, if it came to one, with what went wrong.
func (w *Workspace) scanAndCommit(ctx context.Context) (t *tree, err error) {
	for range 3 {
		folder := w.local.id
		t, err = w.scan(ctx, w.storeFile)
		if err != nil {
			return nil, fmt.Errorf("save workspace: %w", err)
		}
		// What was not found because the folder was moved meanwhile is not deleted.
		if err := w.local.refresh(); err != nil {
			return nil, err
		}
		if w.local.id != folder {
			t, err = nil, errMovedAway
			continue
		}
		if err = w.commit(ctx, t); !errors.Is(err, errAgain) {
			break
		}
	}
	return t, err
}

// remember keeps the error that ends all saving.
func (w *Workspace) remember(err error) error {
	if errors.Is(err, ErrTaken) {
		w.lost = err
	}
	return err
}

// sameEntry says whether two entries are the same to a user. A directory's time
// changes with every temporary file, and is no reason for a generation.
func sameEntry(a, b Entry) bool {
	return a.Path == b.Path && a.Kind == b.Kind && a.Mode == b.Mode && a.Size == b.Size && a.Sum == b.Sum &&
		a.Target == b.Target && a.Hard == b.Hard && maps.Equal(a.Attrs, b.Attrs) && (a.MTime == b.MTime || a.Kind == Dir)
}

// changed compares a scan with the base.
func (w *Workspace) changed(t *tree) bool {
	if w.claim || len(t.entries) != len(w.base) {
		return true
	}
	return slices.ContainsFunc(t.entries, func(k known) bool {
		was, ok := w.base[k.Path]
		return !ok || !sameEntry(was.Entry, k.Entry)
	})
}

// commit writes the manifest of the next generation, if there is anything new.
func (w *Workspace) commit(ctx context.Context, t *tree) error {
	for range 3 {
		if !w.changed(t) {
			w.adoptTree(t)
			return nil
		}
		h, entries := w.next(t)
		if err := w.clearToCommit(ctx, entries); err != nil {
			return err
		}
		if err := w.sync(); err != nil {
			return err
		}
		err := w.writeGeneration(ctx, h, entries)
		if err == nil {
			w.setHeader(h)
			w.adoptTree(t)
			w.ours, w.newestAt, w.claim = true, time.Now(), false
			return w.writeState()
		}
		if !isRefused(err) {
			return explain("write the manifest", err)
		}
		// The number is taken: by us, if the answer to an earlier try was lost.
		if err := w.settle(ctx); err != nil {
			return err
		}
	}
	return &ide.Error{Code: Unavailable, Message: "S3: the manifest is refused, and yet does not exist."}
}

// next makes the header and entries of the generation after the base.
func (w *Workspace) next(t *tree) (Header, []Entry) {
	h := Header{
		Format: format, Generation: w.header.Generation + 1, Base: w.header.Generation,
		Author: w.author, Writer: w.b.cfg.Writer, At: time.Now().UTC(), Added: []Sum{}, Dropped: []Sum{},
	}
	entries := make([]Entry, len(t.entries))
	has := map[Sum]bool{}
	for i, k := range t.entries {
		entries[i] = k.Entry
		if k.Kind == File {
			h.Files++
			h.Bytes += k.Size
			has[k.Sum] = true
		}
	}
	had := map[Sum]bool{}
	for _, k := range w.base {
		if k.Kind == File && !had[k.Sum] {
			had[k.Sum] = true
			if !has[k.Sum] {
				h.Dropped = append(h.Dropped, k.Sum)
			}
		}
	}
	for sum := range has {
		if !had[sum] {
			h.Added = append(h.Added, sum)
		}
	}
	h.Gone = w.markPlain(t, entries)
	return h, entries
}

// writeGeneration puts the manifest where none is yet.
func (w *Workspace) writeGeneration(ctx context.Context, h Header, entries []Entry) error {
	temp := w.local.temp("manifest")
	f, err := w.local.vol.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	defer w.local.vol.Remove(temp)
	defer f.Close()
	sum := &counted{hash: sha256.New()}
	if err := writeManifest(io.MultiWriter(f, sum), h, entries); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	opts := w.b.putOptions()
	opts.ContentType = "application/json"
	if w.b.cfg.SingleWriter {
		_, found, err := w.b.stat(ctx, w.b.manifestKey(h.Generation))
		if err != nil {
			return err
		}
		if found {
			w.pending = h.Generation
			return errRefused
		}
	} else {
		opts.SetMatchETagExcept("*")
	}
	// From here on the generation may exist, whatever the answer is.
	w.pending = h.Generation
	if err := w.writeState(); err != nil {
		return err
	}
	// The reader hides the file's Close, which the client would call.
	body := io.NewSectionReader(f, 0, sum.n)
	_, err = w.b.s3.PutObject(ctx, w.b.cfg.Bucket, w.b.manifestKey(h.Generation), body, sum.n, "", Sum(sum.hash.Sum(nil)).String(), opts)
	if err != nil {
		return err
	}
	w.pending = 0
	return w.confirm(ctx, h)
}

// confirm makes sure that the number just taken was the one after the newest,
// and not one whose manifest was collected long ago: generations are collected
// in order, so if the base still stands, its successor was never there before.
func (w *Workspace) confirm(ctx context.Context, h Header) error {
	stale := false
	if h.Base > 0 {
		_, found, err := w.b.stat(ctx, w.b.manifestKey(h.Base))
		if err != nil {
			w.pending = h.Generation
			return err
		}
		stale = !found
	} else {
		all, err := w.b.generations(ctx)
		if err != nil {
			w.pending = h.Generation
			return err
		}
		stale = len(all) > 1
	}
	if !stale {
		return nil
	}
	// Nobody restores this one: it is not the newest.
	return errors.Join(taken(h.Generation), w.b.remove(ctx, w.b.manifestKey(h.Generation)))
}

func (w *Workspace) setHeader(h Header) {
	w.header = h
	w.generation.Store(h.Generation)
}

// adoptTree takes a scan as what the base has.
func (w *Workspace) adoptTree(t *tree) {
	clear(w.base)
	for _, k := range t.entries {
		w.base[k.Path] = k
	}
	w.uploads.rebase(w.base)
}

// sync brings restored files to the disk, once.
func (w *Workspace) sync() error {
	if w.settled {
		return nil
	}
	if err := w.local.sync(); err != nil {
		return err
	}
	w.settled = true
	return nil
}

// writeState keeps what the local files are for a process after this one.
func (w *Workspace) writeState() error {
	s := state{Place: w.b.place(), Restored: true, Base: w.header.Generation, Author: w.author, Pending: w.pending}
	if !w.settled {
		s.Boot = bootID()
	}
	return w.local.writeState(s)
}

// settle finds out what became of a commit whose outcome is not known, and
// takes it as the base if it is there and ours.
func (w *Workspace) settle(ctx context.Context) error {
	n := w.header.Generation + 1
	if w.pending == 0 {
		return nil
	}
	base := map[string]known{}
	h, found, err := w.b.readGeneration(ctx, n, func(h Header) error {
		if h.Author != w.author {
			return taken(n)
		}
		return nil
	}, func(e Entry) error {
		base[e.Path] = w.knownAs(e)
		return nil
	})
	if err != nil {
		return err
	}
	w.pending = 0
	if !found {
		return nil
	}
	if err := w.confirm(ctx, h); err != nil {
		return err
	}
	w.setHeader(h)
	w.base, w.ours, w.newestAt = base, true, time.Now()
	w.uploads.rebase(base)
	return w.writeState()
}

// knownAs is an entry of a manifest with what is known of the local file.
func (w *Workspace) knownAs(e Entry) known {
	k := known{Entry: e}
	if was, ok := w.base[e.Path]; ok && sameEntry(was.Entry, e) {
		k.looks = was.looks
	}
	return k
}

// counted is a hash that knows how much it was given.
type counted struct {
	hash hash.Hash
	n    int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.hash.Write(p)
}
