package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
)

// listPlain calls each for the plain files: everything but Berth's own.
func (b *Bucket) listPlain(ctx context.Context, each func(minio.ObjectInfo) error) error {
	top, err := b.listFolder(ctx, b.prefix)
	if err != nil {
		return err
	}
	for _, o := range top {
		switch {
		case o.Key == b.key(reserved+"/"), o.Key == b.prefix:
		case strings.HasSuffix(o.Key, "/"):
			err = b.list(ctx, o.Key, each)
		default:
			err = each(o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// outside is a plain file that another program has written.
type outside struct {
	path  string
	etag  string
	size  int64
	mtime time.Time
	mode  uint32
	sum   Sum       // what our file had there; zero if it had none
	saved time.Time // its time
}

// survey is what a look at the plain files has found.
type survey struct {
	files   []outside
	folders []string
	skipped notes
}

// journals returns what is known, by path, from the journals that are kept.
func (b *Bucket) journals(ctx context.Context) (map[string][]journalLine, error) {
	all, err := b.numbered(ctx, journalDir)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	lines := map[string][]journalLine{}
	err = parallel(ctx, all, func(ctx context.Context, g generation) error {
		j, err := b.readJournal(ctx, g.number)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for p, line := range j.Plain {
			line.generation, line.at = g.number, g.at
			lines[p] = append(lines[p], line)
		}
		return nil
	})
	return lines, err
}

// recall takes what the base says of the plain files, without a look at them.
func (w *Workspace) recall() {
	for p, etags := range w.header.Gone {
		w.plain[p] = plainFile{etags: etags, gone: true}
	}
	for p, k := range w.base {
		switch {
		case k.Plain != "":
			w.plain[p] = synced(k.Plain, k.Sum)
		case len(k.Stale) > 0:
			w.plain[p] = plainFile{etags: k.Stale}
		}
	}
}

// survey lists the plain files, takes up which of them are ours, and returns
// those that are not. What is another workspace's is in none of both.
func (w *Workspace) survey(ctx context.Context) (*survey, error) {
	lines, err := w.b.journals(ctx)
	if err != nil {
		return nil, err
	}
	s, others := &survey{}, inner{}
	var newest time.Time
	if w.header.Generation > 0 {
		info, _, err := w.b.stat(ctx, w.b.manifestKey(w.header.Generation))
		if err != nil {
			return nil, err
		}
		newest = info.LastModified
	}
	err = w.b.listPlain(ctx, func(o minio.ObjectInfo) error {
		p := strings.TrimPrefix(o.Key, w.b.prefix)
		if others.note(p, o.LastModified) {
			return nil
		}
		if folder, ok := strings.CutSuffix(p, "/"); ok {
			if o.Size == 0 && checkPath(folder) == nil {
				s.folders = append(s.folders, folder)
			} else {
				s.skipped.add(p, "its name cannot be a file's")
			}
			return nil
		}
		if f, ours := w.copyOf(p, o, newest, lines[p]); ours {
			w.plain[p] = f
			return nil
		}
		f := outside{path: p, etag: o.ETag, size: o.Size, mtime: o.LastModified, mode: 0o644}
		if k := w.base[p]; k.Kind == File {
			f.mode, f.sum, f.saved = k.Mode, k.Sum, k.MTime.time()
		}
		s.files = append(s.files, f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := w.keepOut(ctx, s, others); err != nil {
		return nil, err
	}
	slices.SortFunc(s.files, func(a, b outside) int { return strings.Compare(a.path, b.path) })
	all := s.files
	s.files = nil
	for _, f := range all {
		if why := w.unplaceable(f, all); why != "" {
			s.skipped.add(f.path, why)
			continue
		}
		s.files = append(s.files, f)
	}
	return s, nil
}

// copyOf says whether the plain file at a path, with this ETag, is a copy that a
// save has made of a file that the base has or, as Gone says, has no more. Another
// copy of ours is a file like those of other programs: it may be one that a save
// has left out since. So is one that was written long after the notes that would
// explain it, though it has the bytes of an earlier copy: newest is the time of the
// base.
func (w *Workspace) copyOf(p string, o minio.ObjectInfo, newest time.Time, lines []journalLine) (plainFile, bool) {
	late := func(at time.Time) bool { return o.LastModified.Sub(at) > w.b.lateness }
	lines = slices.DeleteFunc(lines, func(line journalLine) bool { return late(line.at) })
	etag, recent := o.ETag, !late(newest)
	k := w.base[p]
	isFile := k.Kind == File
	if isFile && (etag == k.Plain || etag == k.ETag) {
		return synced(etag, k.Sum), true
	}
	if sum, ok := w.header.Gone[p][etag]; ok && !isFile && recent {
		return plainFile{etags: map[string]Sum{etag: sum}, gone: true}, true
	}
	if !isFile {
		// a copy that was on its way while the file was deleted
		last := slices.MaxFunc(append(lines, journalLine{}), func(a, b journalLine) int { return cmp.Compare(a.generation, b.generation) })
		sum, ours := last.Old[etag]
		ours = ours && last.New == ""
		return plainFile{etags: map[string]Sum{etag: sum}, gone: ours}, ours
	}
	if sum, ok := k.Stale[etag]; ok && recent {
		return plainFile{etags: map[string]Sum{etag: sum}}, true
	}
	for _, line := range lines {
		if sum, ok := line.knows(etag); ok {
			if sum == k.Sum {
				return synced(etag, sum), true
			}
			return plainFile{etags: map[string]Sum{etag: sum}}, true
		}
	}
	return plainFile{}, false
}

// keepOut takes from a survey what lies in other workspaces. Where no generation
// has made this one yet, it is refused instead, if the other was there first.
func (w *Workspace) keepOut(ctx context.Context, s *survey, others inner) error {
	w.inner = others
	if len(others) == 0 {
		return nil
	}
	if w.header.Generation == 0 {
		own, found, err := w.b.stat(ctx, w.b.key(claimKey))
		if err != nil {
			return err
		}
		for folder, at := range others {
			if found && at.Before(own.LastModified) {
				// the claim would stand in the other's way
				return joinPermanent(nested(w.b.prefix+folder, w.b.prefix), w.b.remove(ctx, w.b.key(claimKey)))
			}
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(others)) {
		s.skipped.add(folder, "it is the folder of another workspace")
	}
	s.files = slices.DeleteFunc(s.files, func(f outside) bool { return others.has(f.path) })
	s.folders = slices.DeleteFunc(s.folders, func(folder string) bool { return others.has(folder + "/") })
	maps.DeleteFunc(w.plain, func(p string, _ plainFile) bool { return others.has(p) })
	return nil
}

// unplaceable says why an object cannot be a file in the workspace.
func (w *Workspace) unplaceable(f outside, all []outside) string {
	if checkPath(f.path) != nil {
		return "its name cannot be a file's"
	}
	for name := range strings.SplitSeq(f.path, "/") {
		if len(name) > 255 {
			return "a part of its name has more than 255 bytes"
		}
	}
	if w.base[f.path].Kind == Dir {
		return "there is a directory of this name"
	}
	for dir := path.Dir(f.path); dir != "."; dir = path.Dir(dir) {
		if k, ok := w.base[dir]; ok && k.Kind != Dir {
			return fmt.Sprintf("%q is not a directory", dir)
		}
		_, found := slices.BinarySearchFunc(all, dir, func(a outside, dir string) int { return strings.Compare(a.path, dir) })
		if found {
			return fmt.Sprintf("%q is not a directory", dir)
		}
	}
	return ""
}

// errMoved: a plain file is not the one that was listed.
var errMoved = errors.New("plain file has changed since it was listed")
