package workspace

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Extract writes one generation, which need not be the newest, into a directory
// that is no workspace, and looks at no plain file. What is in its way is moved to
// RecoveredDir. There is nothing to save
// from there: it is for looking, or for taking files back by hand.
func (b *Bucket) Extract(ctx context.Context, number int64, dir string, progress func(Progress)) (r Restored, err error) {
	began := time.Now()
	own := reserved + "-extract-" + newAuthor()
	l, err := openVolume(dir, ".", own)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.vol.RemoveAll(own), l.close()) }()
	w := &Workspace{b: b, local: l, base: map[string]known{}}
	if err := w.load(ctx, number); err != nil {
		return r, err
	}
	r.Generation = number
	if err := newPlacing(w, &survey{}, progress).all(ctx, &r); err != nil {
		return r, fmt.Errorf("extract generation: %w", err)
	}
	r.Took = time.Since(began)
	return r, nil
}

// Generation is one that can be restored or extracted.
type Generation struct {
	Number int64
	At     time.Time // by the store's clock
	Files  int       // of DescribedGenerations
	Bytes  int64     // the same
}

// Generations lists what the bucket has, oldest first.
func (b *Bucket) Generations(ctx context.Context) ([]Generation, error) {
	all, err := b.generations(ctx)
	list := make([]Generation, len(all))
	for i, g := range all {
		list[i] = Generation{Number: g.number, At: g.at}
	}
	return list, err
}

// DescribedGenerations lists the newest generations, at most so many, oldest first,
// with their files and bytes, for which it reads the beginning of each manifest.
func (b *Bucket) DescribedGenerations(ctx context.Context, most int) ([]Generation, error) {
	list, err := b.Generations(ctx)
	if err != nil {
		return nil, err
	}
	list = list[max(0, len(list)-most):]
	indexes := make([]int, len(list))
	for i := range indexes {
		indexes[i] = i
	}
	return list, parallel(ctx, indexes, func(ctx context.Context, i int) error {
		_, _, err := b.readGeneration(ctx, list[i].Number, func(h Header) error {
			list[i].Files, list[i].Bytes = h.Files, h.Bytes
			return errStop
		}, nil)
		return err
	})
}
