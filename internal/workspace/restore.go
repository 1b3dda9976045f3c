package workspace

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"berth/internal/ide"
)

// Restore brings the newest generation into a directory and returns it as a
// Workspace. progress, if not nil, is called now and then, and at the end.
//
// Where the directory was restored from this bucket before, on this machine,
// and nobody has saved since, its files stay as they are (Restored.Local): they
// may hold what a crash kept from being saved. Where somebody has, what differs
// here is moved to .berth/kept. A bucket without a manifest is restored from
// its plain files.
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
// are to be saved, without bringing anything into it: for a process that only
// saves what another has left. ErrNotRestored says that there is nothing to
// save, ErrTaken that another writer has gone on.
func (b *Bucket) Resume(ctx context.Context, dir string) (*Workspace, error) {
	w, _, err := b.take(ctx, dir, nil, true)
	return w, err
}

func (b *Bucket) take(ctx context.Context, dir string, progress func(Progress), resume bool) (*Workspace, Restored, error) {
	if err := b.checkOnce(ctx); err != nil {
		return nil, Restored{}, err
	}
	l, err := openLocal(dir)
	if err != nil {
		return nil, Restored{}, err
	}
	w := &Workspace{
		b: b, local: l, author: newAuthor(), base: map[string]known{}, plain: map[string]plainFile{}, uploads: newUploader(b, l),
	}
	r, err := w.bring(ctx, progress, resume)
	if err != nil {
		return nil, r, errors.Join(err, l.close())
	}
	return w, r, nil
}

// bring decides whose files are to be in the directory, and sees to it.
func (w *Workspace) bring(ctx context.Context, progress func(Progress), resume bool) (r Restored, err error) {
	was, err := w.local.readState()
	if err != nil {
		return r, err
	}
	w.before = was.Author
	whole := was.Restored && was.Place == w.b.place() && (was.Boot == "" || was.Boot == bootID())
	if resume && !whole {
		return r, &ide.Error{Code: ide.Conflict, Permanent: true, Err: ErrNotRestored,
			Message: "The workspace was never restored in this directory: there is nothing to save."}
	}
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
	mine := n == was.Pending && w.header.Author == was.Author
	if whole && (n <= was.Base || mine) {
		w.settled = was.Boot == ""
		r.Local = true
	} else if resume {
		return r, taken(n)
	}
	in, err := w.outsideEdits(ctx, n)
	if err != nil {
		return r, err
	}
	w.uploads.rebase(w.base)
	put := newPlacing(w, in, progress)
	if r.Local {
		err = put.merge(ctx, &r)
	} else {
		extras := was.Restored || was.Extras
		if err := w.local.writeState(state{Place: w.b.place(), Extras: extras}); err != nil {
			return r, err
		}
		err = put.all(ctx, &r, extras)
	}
	if err != nil {
		return r, fmt.Errorf("restore workspace: %w", err)
	}
	r.Skipped = in.skipped.list
	if kept := int(put.kept.Load()); kept > 0 {
		r.Kept, r.KeptFiles = path.Join(w.local.dir, keptDir, put.under), kept
	}
	return r, w.writeState()
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
