package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/ide"
)

// Restore brings the newest generation into a directory and returns it as a
// Workspace. progress, if not nil, is called now and then, and at the end. Its
// state is in the folder .berth beside the directory.
//
// Where the directory was restored from this bucket before, on this machine,
// and nobody has saved since, its files stay as they are (Restored.Local): they
// may hold what a crash kept from being saved. Where the state is missing or
// older than what this run has saved (Config.Writer), they stay, too, and what
// is in the newest generation and not here is brought back (Restored.Doubted).
// Where another run has saved, what differs here is moved to RecoveredDir. A
// bucket without a manifest is restored from its plain files.
//
// Before anything is written, the size of what is to come is compared with the
// limits and with the free space: RESOURCE_LIMIT_EXCEEDED.
func (b *Bucket) Restore(ctx context.Context, dir string, progress func(Progress)) (*Workspace, Restored, error) {
	began := time.Now()
	w, r, err := b.take(ctx, dir, progress, false)
	if err != nil {
		return nil, r, err
	}
	r.Took = time.Since(began)
	return w, r, nil
}

// Resume returns a directory as a Workspace whose files were restored before and
// are to be saved, without bringing a newer generation into it: for a process
// that only saves what another has left. ErrNotRestored says that the first
// restore never ended, so that nothing of the user's is here; ErrTaken that
// another writer has gone on. WORKSPACE_UNSAVED says that files are here of
// which a restore has to tell what is newer.
func (b *Bucket) Resume(ctx context.Context, dir string) (*Workspace, error) {
	w, _, err := b.take(ctx, dir, nil, true)
	return w, err
}

func (b *Bucket) take(ctx context.Context, dir string, progress func(Progress), resume bool) (*Workspace, Restored, error) {
	if err := b.checkOnce(ctx); err != nil {
		return nil, Restored{}, err
	}
	if !resume {
		if err := b.ClaimPrefix(ctx); err != nil {
			return nil, Restored{}, err
		}
	}
	l, err := openLocal(dir, !resume)
	if err != nil {
		return nil, Restored{}, err
	}
	w := newWorkspace(b, l)
	r, err := w.bring(ctx, progress, resume)
	if err != nil {
		return nil, r, errors.Join(err, l.close())
	}
	return w, r, nil
}

// newWorkspace returns a workspace without a base.
func newWorkspace(b *Bucket, l *local) *Workspace {
	return &Workspace{
		b: b, local: l, author: newAuthor(), base: map[string]known{}, plain: map[string]plainFile{}, uploads: newUploader(b, l),
	}
}

// bring decides whose files are to be in the directory, and sees to it.
func (w *Workspace) bring(ctx context.Context, progress func(Progress), resume bool) (r Restored, err error) {
	was, err := w.local.readState()
	if err != nil {
		return r, err
	}
	w.before = was.Author
	n, err := w.b.newest(ctx)
	if err != nil {
		return r, err
	}
	if n > 0 {
		if err := w.load(ctx, n); err != nil {
			return r, err
		}
	}
	r.Generation = n
	whose := w.whose(was, n)
	if resume && whose != stays && whose != doubted {
		return r, w.cannotResume(was, n)
	}
	w.settled = whose == stays && was.Boot == ""
	in, err := w.outsideEdits(ctx, n)
	if err != nil {
		return r, err
	}
	w.uploads.rebase(w.base)
	put := newPlacing(w, in, progress)
	r.Local, r.Doubted = whose == stays || whose == doubted, whose == doubted
	put.clears = was.Restored || was.Extras || w.wasKept()
	put.image = !put.clears && !r.Local
	if err := put.fits(n == 0, whose == stays); err != nil {
		return r, err
	}
	switch {
	case r.Doubted:
		if err = put.fill(ctx, &r); err == nil {
			err = put.merge(ctx, &r)
		}
	case r.Local:
		err = put.merge(ctx, &r)
	default:
		if put.before, err = w.earlierBase(ctx, was); err != nil {
			return r, err
		}
		if err := w.local.writeState(state{Place: w.b.place(), Extras: put.clears, Base: was.Base}); err != nil {
			return r, err
		}
		err = put.all(ctx, &r)
	}
	if err != nil {
		return r, fmt.Errorf("restore workspace: %w", err)
	}
	w.local.mark()
	w.trustRestored()
	r.Skipped = in.skipped.list
	if asides := int(put.asides.Load()); asides > 0 {
		r.Recovered, r.RecoveredFiles = put.under, asides
	}
	return r, w.writeState()
}

// owner says what the files of a directory are to a restore.
type owner int

const (
	giveWay owner = iota // the newest generation is another run's, or there is none yet
	stays                // at least as new as the bucket's
	doubted              // this run's, but its state is missing or too old
)

// whose decides by the state and by who has written the newest generation, n.
// A state that says that nothing was restored is that of a restore that broke
// off: what is here is not whole. The absence of a state says nothing.
func (w *Workspace) whose(was state, n int64) owner {
	whole := was.Restored && was.Place == w.b.place() && (was.Boot == "" || was.Boot == bootID())
	mine := n == was.Pending && w.header.Author == was.Author
	switch {
	case w.local.absent:
		return giveWay
	case whole && (n <= was.Base || mine):
		return stays
	case was != state{} && !whole:
		return giveWay
	case n > 0 && w.b.cfg.Writer != "" && w.header.Writer == w.b.cfg.Writer, n == 0 && was == state{} && w.wasKept():
		return doubted
	default:
		return giveWay
	}
}

// wasKept says whether something here may not be saved, though no state says so.
func (w *Workspace) wasKept() bool { return w.b.cfg.Kept || w.local.marked() }

// cannotResume says why the files of a directory cannot be saved as they are.
func (w *Workspace) cannotResume(was state, n int64) error {
	switch {
	case was.Restored && n > was.Base:
		return taken(n)
	case was.Place != "" && !was.Restored && !was.Extras:
		return &ide.Error{Code: ide.Conflict, Permanent: true, Err: ErrNotRestored,
			Message: "The workspace was never restored in this directory: there is nothing to save."}
	default:
		return &ide.Error{Code: ide.WorkspaceUnsaved, Permanent: true,
			Message: "It is not known which files of the workspace are newer, those of its volume or those of the bucket. The next start keeps both: what differs on the volume is moved to " + RecoveredDir + "."}
	}
}

// earlierBase returns the generation that was restored here before, if the
// bucket still has it.
func (w *Workspace) earlierBase(ctx context.Context, was state) (map[string]Entry, error) {
	if was.Base == 0 || was.Place != w.b.place() {
		return nil, nil
	}
	entries := map[string]Entry{}
	_, found, err := w.b.readGeneration(ctx, was.Base, func(Header) error {
		clear(entries)
		return nil
	}, func(e Entry) error {
		entries[e.Path] = e
		return nil
	})
	if !found || err != nil {
		return nil, err
	}
	return entries, nil
}

// fits compares what is to come with the limits and with the free space of the
// volume. imported: nothing is in a generation yet; staying: nothing of the base
// is to come, also where a user has deleted it.
func (p *placing) fits(imported, staying bool) error {
	files, bytes, missing := 0, int64(0), int64(0)
	count := func(q string, size, disk int64) {
		files++
		bytes += size
		if info, err := p.lstat(q); err != nil || info == nil || info.Size() != size {
			missing += disk
		}
	}
	for q, k := range p.w.base {
		if k.Kind == File && !staying && !p.isHardLink(k) {
			count(q, k.Size, cmp.Or(k.Disk, k.Size))
		}
	}
	cfg := p.w.b.cfg
	refuse := func(format string, args ...any) error {
		return ide.Errorf(ide.ResourceLimitExceeded, format+" Nothing was written.", args...)
	}
	for _, f := range p.in.files {
		if count(f.path, f.size, f.size); imported && f.size > cfg.MaxFileBytes {
			return refuse("The file %.200q of the bucket has %d bytes, and one of a workspace has at most %d.", f.path, f.size, cfg.MaxFileBytes)
		}
	}
	if imported && files > cfg.MaxFiles {
		return refuse("The bucket has %d files here, and a workspace has at most %d.", files, cfg.MaxFiles)
	}
	if imported && bytes > cfg.MaxBytes {
		return refuse("The files of the bucket have %d bytes here, and those of a workspace have at most %d.", bytes, cfg.MaxBytes)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(p.w.local.dir, &st); err != nil {
		return fmt.Errorf("look at the free space: %w", err)
	}
	if free := int64(st.Bavail) * st.Bsize; missing > free {
		return refuse("The workspace needs %d bytes more on its node, and %d are free there.", missing, free)
	}
	return nil
}

// trustRestored notes that nothing has written to the files that were just
// restored, also not in the moment in which a write would leave no trace: the
// programs have not begun. So the first save does not read them again.
func (w *Workspace) trustRestored() {
	time.Sleep(clockTick)
	for q, k := range w.base {
		if k.looks.at != 0 {
			k.looks.quiet = true
			w.base[q] = k
		}
	}
}

// load reads the manifest of generation n as the base.
func (w *Workspace) load(ctx context.Context, n int64) error {
	h, found, err := w.b.readGeneration(ctx, n, func(Header) error {
		clear(w.base)
		return nil
	}, func(e Entry) error {
		w.base[e.Path] = known{Entry: e}
		return nil
	})
	if err != nil {
		return err
	}
	if !found {
		return &ide.Error{Code: Unavailable, Message: fmt.Sprintf("S3: generation %d is listed, but cannot be read.", n)}
	}
	w.setHeader(h)
	return nil
}

// outsideEdits takes up what is known of the plain files, and returns those of
// others. Without a manifest, all plain files are others'.
func (w *Workspace) outsideEdits(ctx context.Context, n int64) (*survey, error) {
	if w.b.cfg.NoMirror && n > 0 {
		w.recall()
		return &survey{}, nil
	}
	return w.survey(ctx)
}
