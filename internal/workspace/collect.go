package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"

	"berth/internal/ide"
)

// Collecting must never delete an object that a generation has, whoever makes
// one meanwhile. Three rules see to that.
//
// A writer uploads again whatever its base does not have, even if the object
// exists, so that its time is never older than the last generation that took it
// up. An object younger than Grace is left alone.
//
// Only the author of the newest generation collects. Before it deletes, it
// writes what it is about to delete below .berth/collect, and looks whether it
// still is the newest. Who writes the generation after another author's looks
// there when all is uploaded and before it commits, and waits while one of its
// objects is named. So either the collector sees the new generation, or the
// writer sees the collector's list, or the upload was before the list and the
// object is young. A collector stops within half of the time for which a writer
// waits, so that one that has died holds up nobody for long.
//
// Generations go in the order of their numbers.

// collectFor bounds one run of collecting; the next save goes on.
const collectFor = 5 * time.Minute

// sweepEvery is how often objects are looked for that no generation ever had:
// those of saves that never came to a commit.
const sweepEvery = 24 * time.Hour

// doomed is the list of what is about to be deleted.
type doomed struct {
	Author  string `json:"author"`
	Objects []Sum  `json:"objects"`

	key, etag string // of the list itself
}

// collect removes the generations that are outdated and the objects that no
// generation has any more. It is called by the author of the newest.
func (w *Workspace) collect(ctx context.Context) (removed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, collectFor)
	defer cancel()
	all, err := w.b.generations(ctx)
	if err != nil {
		return 0, err
	}
	if len(all) == 0 || all[len(all)-1].number != w.header.Generation {
		return 0, nil // another writer's now
	}
	now := all[len(all)-1].at // the store's clock
	outdated := 0
	for outdated < len(all)-w.b.cfg.KeepGenerations && now.Sub(all[outdated].at) > w.b.cfg.KeepFor {
		outdated++
	}
	var candidates []Sum
	for i := range outdated {
		sums, err := w.b.dropped(ctx, all[i], all[i+1])
		if err != nil {
			return 0, err
		}
		candidates = append(candidates, sums...)
	}
	orphans, swept, err := w.orphans(ctx, all[outdated:], now)
	if err != nil {
		return 0, err
	}
	candidates = append(candidates, orphans...)
	if len(candidates) > 0 {
		if removed, err = w.delete(ctx, candidates, now); err != nil {
			return removed, err
		}
	}
	for _, g := range all[:outdated] {
		if err := w.b.remove(ctx, w.b.manifestKey(g.number)); err != nil {
			return removed, err
		}
	}
	if swept {
		_, err = w.b.put(ctx, w.b.key(sweptKey), nil)
	}
	return removed, err
}

// dropped returns the objects that an outdated generation was the last in a
// row to have. One that was taken up again later has a later time than the
// generation that dropped it.
func (b *Bucket) dropped(ctx context.Context, g, next generation) ([]Sum, error) {
	if next.number != g.number+1 {
		return nil, nil // the sweep's
	}
	var h Header
	_, _, err := b.readGeneration(ctx, next.number, func(got Header) error {
		h = got
		return errStop
	}, nil)
	if err != nil || h.Base != g.number {
		return nil, err
	}
	// Clocks within a store differ a little; what is that close is the sweep's.
	limit := next.at.Add(-min(b.cfg.Grace, 10*time.Minute))
	var mu sync.Mutex
	var old []Sum
	err = parallel(ctx, h.Dropped, func(ctx context.Context, sum Sum) error {
		info, found, err := b.stat(ctx, b.objectKey(sum))
		if found && info.LastModified.Before(limit) {
			mu.Lock()
			defer mu.Unlock()
			old = append(old, sum)
		}
		return err
	})
	return old, err
}

// orphans returns the objects that no generation has, if it is time to look.
func (w *Workspace) orphans(ctx context.Context, kept []generation, now time.Time) (found []Sum, swept bool, err error) {
	last, exists, err := w.b.stat(ctx, w.b.key(sweptKey))
	if err != nil {
		return nil, false, err
	}
	if !exists { // a sweep of nothing but fresh objects is not worth it
		return nil, true, nil
	}
	if now.Sub(last.LastModified) < min(sweepEvery, w.b.cfg.Grace) {
		return nil, false, nil
	}
	// The oldest whole, and of each later one what it took up.
	has := map[Sum]bool{}
	for i, g := range kept {
		h, found, err := w.b.readGeneration(ctx, g.number, func(h Header) error {
			for _, sum := range h.Added {
				has[sum] = true
			}
			if i > 0 && h.Base == kept[i-1].number {
				return errStop
			}
			return nil
		}, func(e Entry) error {
			if e.Kind == File {
				has[e.Sum] = true
			}
			return nil
		})
		if err != nil {
			return nil, false, err
		}
		if !found || h.Generation != g.number {
			return nil, false, nil // somebody else is at work
		}
	}
	prefix := w.b.key(objectsDir)
	err = w.b.list(ctx, prefix, func(o minio.ObjectInfo) error {
		var sum Sum
		if sum.UnmarshalText([]byte(o.Key[len(prefix):])) == nil && !has[sum] && now.Sub(o.LastModified) > w.b.cfg.Grace {
			found = append(found, sum)
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return found, true, w.abandoned(ctx, now)
}

// abandoned ends uploads that nobody goes on with.
func (w *Workspace) abandoned(ctx context.Context, now time.Time) error {
	prefix := w.b.key(objectsDir)
	list, err := w.b.s3.ListMultipartUploads(ctx, w.b.cfg.Bucket, prefix, "", "", "", 1000)
	if err != nil {
		return nil // not every store, and not every set of permissions, has this
	}
	for _, u := range list.Uploads {
		if now.Sub(u.Initiated) > w.b.cfg.Grace {
			err = errors.Join(err, w.b.s3.AbortMultipartUpload(ctx, w.b.cfg.Bucket, u.Key, u.UploadID))
		}
	}
	return explain("end an upload", err)
}

// batch is how many objects one list names.
const batch = 500

// delete removes objects by the rules above.
func (w *Workspace) delete(ctx context.Context, sums []Sum, now time.Time) (removed int, err error) {
	for some := range slices.Chunk(sums, batch) {
		n, err := w.deleteSome(ctx, some, now)
		removed += n
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

func (w *Workspace) deleteSome(ctx context.Context, sums []Sum, now time.Time) (int, error) {
	data, err := json.Marshal(doomed{Author: w.author, Objects: sums})
	if err != nil {
		return 0, fmt.Errorf("write list: %w", err)
	}
	marker := w.b.collectKey(w.header.Generation)
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		w.b.remove(ctx, marker) // else whoever waits for it does
	}()
	if _, err := w.b.put(ctx, marker, data); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, w.b.patience/2)
	defer cancel()
	if newest, err := w.b.newest(ctx); err != nil || newest != w.header.Generation {
		return 0, err
	}
	var removed atomic.Int64
	err = parallel(ctx, sums, func(ctx context.Context, sum Sum) error {
		info, found, err := w.b.stat(ctx, w.b.objectKey(sum))
		if err != nil || !found || now.Sub(info.LastModified) <= w.b.cfg.Grace {
			return err
		}
		removed.Add(1)
		return w.b.remove(ctx, w.b.objectKey(sum))
	})
	return int(removed.Load()), err
}

func (b *Bucket) collectKey(n int64) string {
	return b.key(collectDir + strconv.FormatInt(n, 10) + ".json")
}

// errAgain: what was uploaded may have been deleted since; scan again.
var errAgain = &ide.Error{Code: Unavailable, Message: "Another container is cleaning up in this workspace."}

// clearToCommit waits while a collector is about to delete what the next
// generation has, and then asks for another scan, which uploads it again. Only
// another author's can be at work: ours runs within Save.
func (w *Workspace) clearToCommit(ctx context.Context, entries []Entry) error {
	if w.ours || w.header.Generation == 0 {
		return nil
	}
	has := map[Sum]bool{}
	for _, e := range entries {
		has[e.Sum] = true
	}
	again := false
	since := map[string]time.Time{} // when a list was first seen, by our clock
	for {
		lists, err := w.b.condemned(ctx)
		if err != nil {
			return err
		}
		busy := false
		for _, list := range lists {
			hit := false
			for _, sum := range list.Objects {
				if has[sum] {
					hit = true
					w.uploads.forget(sum)
				}
			}
			if !hit {
				continue
			}
			again = true
			if since[list.etag].IsZero() {
				since[list.etag] = time.Now()
			}
			// Its author is dead if it worked in this very directory, or if it
			// does not stop when it has to.
			if list.Author != w.before && time.Since(since[list.etag]) < w.b.patience {
				busy = true
			} else if err := w.b.remove(ctx, list.key); err != nil {
				return err
			}
		}
		if !busy {
			break
		}
		pause(ctx, 250*time.Millisecond)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if again {
		return errAgain
	}
	return nil
}

// condemned returns the lists of what collectors are deleting now.
func (b *Bucket) condemned(ctx context.Context) ([]doomed, error) {
	prefix := b.key(collectDir)
	var lists []doomed
	err := b.list(ctx, prefix, func(o minio.ObjectInfo) error {
		lists = append(lists, doomed{key: o.Key, etag: o.Key + " " + o.ETag})
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range lists {
		data, found, err := b.get(ctx, lists[i].key, maxJournal)
		if err != nil {
			return nil, err
		}
		if found && json.Unmarshal(data, &lists[i]) != nil {
			return nil, damaged("The list %s cannot be read.", lists[i].key)
		}
	}
	return lists, nil
}
