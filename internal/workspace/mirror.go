package workspace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/minio/minio-go/v7"

	"berth/internal/ide"
)

// plainFile is what is known of a plain file, an object at the path itself.
type plainFile struct {
	etags map[string]Sum // that it may have by our own doing, with the content of each; none: there is none
	sum   Sum            // its content, if synced
	// synced: it has the one ETag and this content.
	synced bool
	// foreign: while we had sum, it was found that another program has written
	// this key, or that S3 refuses it: to be left until we have another content.
	foreign bool
	// gone: it is to be deleted; see Header.Gone.
	gone bool
}

// synced is a plain file that has the content of the workspace's.
func synced(etag string, sum Sum) plainFile {
	return plainFile{etags: map[string]Sum{etag: sum}, sum: sum, synced: true}
}

// Mirrored says what was done to the plain files.
type Mirrored struct {
	Copied, Removed int
	Took            time.Duration // included in that of the save
	// Conflicts are plain files that another program has written since they were
	// copied: they are left, and win at the next restore.
	Conflicts []string
	// Unmirrored are files whose names no plain file can have.
	Unmirrored      []Note
	UnmirroredCount int
}

// maxKey is the longest key in S3, in bytes.
const maxKey = 1024

// unmirrored says why a path can have no plain file, "" if it can.
func (w *Workspace) unmirrored(p string) string {
	b := w.b
	switch {
	case slices.Contains(strings.Split(p, "/"), reserved):
		return "its name is that of Berth's own folder in a bucket"
	case w.inner.has(p):
		return "its folder in the bucket is another workspace's"
	case !utf8.ValidString(p):
		return "its name is not UTF-8"
	case len(b.prefix)+len(p) > maxKey:
		return fmt.Sprintf("its key would have more than %d bytes", maxKey)
	case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' || r == 0xFFFE || r == 0xFFFF }):
		return "its name has a character that a listing, which is XML, cannot have"
	}
	return ""
}

// markPlain writes into the entries of a generation what is known of their
// plain files, and returns those to delete. It is part of the commit: whoever
// restores this generation can tell our doing from others'. A plain file is to be
// deleted if the base has it and the disk has not: what is on the disk and was
// left out of the save stays in the bucket. A path that has no plain file is none
// of them, whatever object is at its key: it may be one of Berth's own.
func (w *Workspace) markPlain(t *tree, entries []Entry) map[string]map[string]Sum {
	files := make(map[string]bool, len(entries))
	for i := range entries {
		e := &entries[i]
		e.Plain, e.Stale = "", nil
		if e.Kind != File {
			continue
		}
		files[e.Path] = true
		f, ok := w.plain[e.Path]
		switch {
		case !ok:
		case f.synced && f.sum == e.Sum:
			for etag := range f.etags {
				e.Plain = etag
			}
		default:
			e.Stale = f.etags
		}
	}
	for p, k := range w.base { // a plain file with the object's ETag has its bytes
		if _, known := w.plain[p]; !known && !files[p] && k.Kind == File && k.ETag != "" && w.unmirrored(p) == "" {
			w.plain[p] = plainFile{etags: map[string]Sum{k.ETag: k.Sum}}
		}
	}
	gone := map[string]map[string]Sum{}
	for p, f := range w.plain {
		f.gone = !files[p] && t.absent(p) && (f.gone || w.base[p].Kind == File)
		w.plain[p] = f
		if f.gone && len(f.etags) > 0 && w.unmirrored(p) == "" {
			gone[p] = f.etags
		}
	}
	return gone
}

// task is one plain file to copy or to remove.
type task struct {
	path   string
	entry  *Entry // nil: remove
	etags  map[string]Sum
	before string // its ETag in the bucket now; empty: there is none
}

// mirror brings the plain files to what the base has, which is the tree.
func (w *Workspace) mirror(ctx context.Context, t *tree) (m Mirrored, err error) {
	if w.b.cfg.NoMirror {
		return m, nil
	}
	var removes, copies []*task
	for p, f := range w.plain {
		if f.gone && w.base[p].Kind != File && t.absent(p) && !f.foreign && w.unmirrored(p) == "" {
			removes = append(removes, &task{path: p, etags: f.etags})
		}
	}
	var unable notes
	for p, k := range w.base {
		if k.Kind != File {
			continue
		}
		if why := w.unmirrored(p); why != "" {
			unable.add(p, why)
			continue
		}
		if f := w.plain[p]; f.sum != k.Sum || !f.synced && !f.foreign {
			copies = append(copies, &task{path: p, entry: &k.Entry, etags: f.etags})
		}
	}
	m.Unmirrored, m.UnmirroredCount = unable.list, unable.count
	if len(removes)+len(copies) == 0 {
		return m, nil
	}
	began := time.Now()
	defer func(began time.Time) { m.Took = time.Since(began) }(began)
	j, err := w.openJournal(ctx)
	if err != nil {
		return m, err
	}
	for _, t := range removes {
		j.add(t.path, journalLine{Old: t.etags})
	}
	for _, t := range copies {
		j.add(t.path, journalLine{Old: t.etags, New: t.entry.ETag, Sum: &t.entry.Sum})
	}
	if err := w.writeJournal(ctx, j); err != nil {
		return m, err
	}
	began = time.Now()
	if err := w.look(ctx, removes, copies); err != nil {
		return m, err
	}
	run := &mirroring{w: w, m: &m, journal: j, looked: began}
	// Removing first: where a directory takes a file's place, stores that keep
	// objects as files have room for only one.
	err = parallel(ctx, removes, run.remove)
	if err == nil {
		err = parallel(ctx, copies, run.copy)
	}
	if run.surprise {
		err = errors.Join(err, w.writeJournal(ctx, j))
	}
	if err == nil {
		err = w.oldJournals(ctx)
	}
	slices.Sort(m.Conflicts)
	return m, err
}

// fewTasks is how many plain files are looked at one by one; above, a listing
// is cheaper.
const fewTasks = 64

// look finds out what stands at the paths now: another program may have been
// there since.
func (w *Workspace) look(ctx context.Context, lists ...[]*task) error {
	all := slices.Concat(lists...)
	if len(all) <= fewTasks {
		return parallel(ctx, all, func(ctx context.Context, t *task) error {
			info, found, err := w.b.stat(ctx, w.b.key(t.path))
			if found {
				t.before = info.ETag
			}
			return err
		})
	}
	byPath := make(map[string]*task, len(all))
	for _, t := range all {
		byPath[t.path] = t
	}
	return w.b.listPlain(ctx, func(o minio.ObjectInfo) error {
		if t, ok := byPath[strings.TrimPrefix(o.Key, w.b.prefix)]; ok {
			t.before = o.ETag
		}
		return nil
	})
}

// mirroring is the work on the plain files of one generation.
type mirroring struct {
	w      *Workspace
	m      *Mirrored
	looked time.Time // when it was found out what stands at the paths

	mu       sync.Mutex
	journal  journal
	surprise bool // a copy has another ETag than its source
}

// conflict says whether another program has written a plain file.
func (r *mirroring) conflict(t *task) bool {
	if t.before == "" || isKnown(t.etags, t.before) || t.entry != nil && t.before == t.entry.ETag {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m.Conflicts = append(r.m.Conflicts, t.path)
	f := plainFile{etags: t.etags, foreign: true, gone: t.entry == nil}
	if t.entry != nil {
		f.sum = t.entry.Sum
	}
	r.w.plain[t.path] = f
	return true
}

func isKnown(etags map[string]Sum, etag string) bool {
	_, ok := etags[etag]
	return ok
}

// lookAgain finds out once more what stands at a path, if the look at all of them
// was a while ago.
func (r *mirroring) lookAgain(ctx context.Context, t *task) error {
	if time.Since(r.looked) < fenceEvery {
		return nil
	}
	info, found, err := r.w.b.stat(ctx, r.w.b.key(t.path))
	if t.before = ""; found {
		t.before = info.ETag
	}
	return err
}

func (r *mirroring) remove(ctx context.Context, t *task) error {
	if err := r.lookAgain(ctx, t); err != nil {
		return err
	}
	if r.conflict(t) {
		return nil
	}
	if t.before != "" {
		// its bytes must be in a generation that is kept
		_, found, err := r.w.b.stat(ctx, r.w.b.objectKey(t.etags[t.before]))
		if err != nil {
			return err
		}
		if !found {
			r.forget(t.path)
			return nil
		}
		if err := r.fence(ctx); err != nil {
			return err
		}
		if err := r.w.b.remove(ctx, r.w.b.key(t.path)); err != nil {
			return err
		}
	}
	r.forget(t.path)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m.Removed++
	return nil
}

func (r *mirroring) forget(p string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.w.plain, p)
}

func (r *mirroring) copy(ctx context.Context, t *task) error {
	if err := r.lookAgain(ctx, t); err != nil {
		return err
	}
	if r.conflict(t) {
		return nil
	}
	if err := r.fence(ctx); err != nil {
		return err
	}
	etag, err := r.w.b.copyObject(ctx, *t.entry)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil { // it may have been copied
		f := plainFile{etags: map[string]Sum{t.entry.ETag: t.entry.Sum}}
		maps.Copy(f.etags, t.etags)
		if f.foreign = isRefusedKey(err); f.foreign {
			f.sum = t.entry.Sum
			r.m.Unmirrored = append(r.m.Unmirrored, Note{t.path, "S3 refuses the key, or something else is in its way"})
			r.m.UnmirroredCount++
			err = nil
		}
		r.w.plain[t.path] = f
		return err
	}
	if etag != t.entry.ETag {
		line := r.journal.Plain[t.path]
		line.New = etag
		r.journal.Plain[t.path], r.surprise = line, true
	}
	r.w.plain[t.path] = synced(etag, t.entry.Sum)
	r.m.Copied++
	return nil
}

// fenceEvery is how long a look at the next generation's key, or at the plain files,
// is good for.
const fenceEvery = 2 * time.Second

// fence stops the work once another writer has gone on: the plain files are
// that one's now.
func (r *mirroring) fence(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.w.newestAt) < fenceEvery {
		return nil
	}
	n := r.w.header.Generation + 1
	_, found, err := r.w.b.stat(ctx, r.w.b.manifestKey(n))
	if err != nil {
		return err
	}
	if found {
		r.w.lost = taken(n)
		return r.w.lost
	}
	r.w.newestAt = time.Now()
	return nil
}

// maxCopy is the longest object that S3 copies in one request.
const maxCopy = 5 << 30

func (b *Bucket) copyObject(ctx context.Context, e Entry) (etag string, err error) {
	dst := minio.CopyDestOptions{Bucket: b.cfg.Bucket, Object: b.key(e.Path), Encryption: b.sse}
	src := minio.CopySrcOptions{Bucket: b.cfg.Bucket, Object: b.objectKey(e.Sum)}
	err = try(ctx, "copy an object", func() error {
		var info minio.UploadInfo
		var err error
		if e.Size > maxCopy {
			info, err = b.s3.ComposeObject(ctx, dst, src)
		} else {
			info, err = b.s3.Client.CopyObject(ctx, dst, src)
		}
		etag = info.ETag
		return err
	})
	if err == nil && etag == "" {
		err = &ide.Error{Code: Unavailable, Message: "S3: a copy was answered without an ETag."}
	}
	return etag, err
}
