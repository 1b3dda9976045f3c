package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"berth/internal/ide"
)

// GoBack makes what an earlier generation has the newest one, and returns its
// number. Nothing is lost by it: the generation that was the newest is kept as
// all others are, so that this can be undone in the same way. The plain files
// follow with the first save after it. Where the newest has the same files
// already, it stays. No container may be at work in this place: it would find
// its own next generation taken.
func (b *Bucket) GoBack(ctx context.Context, number int64) (now int64, err error) {
	if err := b.checkOnce(ctx); err != nil {
		return 0, err
	}
	if err := os.MkdirAll(os.TempDir(), 0o777); err != nil { // an image from scratch has none
		return 0, fmt.Errorf("go back: %w", err)
	}
	dir, err := os.MkdirTemp("", "berth-goback-")
	if err != nil {
		return 0, fmt.Errorf("go back: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l, err := openLocal(filepath.Join(dir, "workspace"), true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	w := newWorkspace(b, l)
	w.settled = true // no file is here
	t, err := w.earlier(ctx, number)
	if err != nil {
		return 0, err
	}
	if err := w.commit(ctx, t); err != nil {
		return 0, err
	}
	_, err = b.Verify(ctx, w.header.Generation)
	return w.header.Generation, err
}

// earlier takes the newest generation as the base, and returns an earlier one
// as if it had been found by a scan.
func (w *Workspace) earlier(ctx context.Context, number int64) (*tree, error) {
	gone := ide.Errorf(ide.NotFound, "There is no generation %d, or it is not kept any more.", number)
	newest, err := w.b.newest(ctx)
	if err != nil {
		return nil, err
	}
	if number < 1 || number > newest {
		return nil, gone
	}
	if err := w.load(ctx, newest); err != nil {
		return nil, err
	}
	if _, err := w.outsideEdits(ctx, newest); err != nil {
		return nil, err
	}
	t := &tree{}
	_, found, err := w.b.readGeneration(ctx, number, func(Header) error {
		t.entries = nil
		return nil
	}, func(e Entry) error {
		t.entries = append(t.entries, known{Entry: e})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, gone
	}
	_, err = w.b.Verify(ctx, number)
	return t, err
}
