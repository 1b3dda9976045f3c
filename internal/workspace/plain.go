package workspace

import (
	"context"
	"errors"
	"fmt"
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
			lines[p] = append(lines[p], line)
		}
		return nil
	})
	return lines, err
}

// recall takes what the base says of the plain files, without a look at them.
func (w *Workspace) recall() {
	for p, etags := range w.header.Gone {
		w.plain[p] = plainFile{etags: etags}
	}
	for p, k := range w.base {
		switch {
		case k.Plain != "":
			w.plain[p] = plainFile{etags: []string{k.Plain}, sum: k.Sum, synced: true}
		case len(k.Stale) > 0:
			w.plain[p] = plainFile{etags: k.Stale}
		}
	}
}

// survey lists the plain files, takes up which of them are ours, and returns
// those that are not.
func (w *Workspace) survey(ctx context.Context) (*survey, error) {
	lines, err := w.b.journals(ctx)
	if err != nil {
		return nil, err
	}
	s := &survey{}
	err = w.b.listPlain(ctx, func(o minio.ObjectInfo) error {
		p := strings.TrimPrefix(o.Key, w.b.prefix)
		if folder, ok := strings.CutSuffix(p, "/"); ok {
			if o.Size == 0 && checkPath(folder) == nil {
				s.folders = append(s.folders, folder)
			} else {
				s.skipped.add(p, "its name cannot be a file's")
			}
			return nil
		}
		k, isFile := w.base[p]
		isFile = isFile && k.Kind == File
		if isFile && (o.ETag == k.Plain || o.ETag == k.ETag) {
			w.plain[p] = plainFile{etags: []string{o.ETag}, sum: k.Sum, synced: true}
			return nil
		}
		ours := slices.Contains(k.Stale, o.ETag) || slices.Contains(w.header.Gone[p], o.ETag)
		for _, line := range lines[p] {
			if line.New == o.ETag && isFile && line.Sum != nil && *line.Sum == k.Sum {
				w.plain[p] = plainFile{etags: []string{o.ETag}, sum: k.Sum, synced: true}
				return nil
			}
			ours = ours || line.New == o.ETag || slices.Contains(line.Old, o.ETag)
		}
		if ours {
			w.plain[p] = plainFile{etags: []string{o.ETag}}
			return nil
		}
		f := outside{path: p, etag: o.ETag, size: o.Size, mtime: o.LastModified, mode: 0o644}
		if isFile {
			f.mode, f.sum, f.saved = k.Mode, k.Sum, time.Unix(0, k.MTime)
		}
		s.files = append(s.files, f)
		return nil
	})
	if err != nil {
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
