package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// looks is how a file looked when it was read: what says whether it may have
// changed since.
type looks struct {
	id    fileID
	size  int64
	mtime int64
	ctime int64
	at    int64 // when it was looked at
}

// doubt is how close before a look a file may have been written for a write
// after it to have left no trace: clocks of file systems are coarse.
const doubt = int64(2 * time.Second)

func looksOf(info fs.FileInfo, at time.Time) looks {
	l := looks{id: idOf(info), size: info.Size(), mtime: info.ModTime().UnixNano(), at: at.UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		l.ctime = st.Ctim.Nano()
	}
	return l
}

// unchanged says whether a file that looks so now is what it was.
func (l looks) unchanged(now looks) bool {
	return l.at != 0 && l.id == now.id && l.size == now.size && l.mtime == now.mtime && l.ctime == now.ctime && l.mtime < l.at-doubt
}

// known is what the base has at a path.
type known struct {
	Entry
	looks looks // zero: has to be read
}

// Note is a path that is that something is to be said of.
type Note struct{ Path, Reason string }

// maxNotes bounds the lists of reports; the counts beside them do not end there.
const maxNotes = 200

// notes is a bounded list.
type notes struct {
	mu    sync.Mutex
	list  []Note
	count int
}

func (s *notes) add(p, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count++; len(s.list) < maxNotes {
		s.list = append(s.list, Note{p, reason})
	}
}

// tree is one scan of the workspace.
type tree struct {
	mu      sync.Mutex
	entries []known

	skipped   notes
	unsettled notes
	ignored   int
	files     int   // found so far, for the limits
	bytes     int64 // the same

	vanished atomic.Int64 // paths that were listed and then not there
}

func (t *tree) add(k known) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries = append(t.entries, k)
}

// scanner walks the workspace and has what changed stored.
type scanner struct {
	w     *Workspace
	t     *tree
	rules ignoreRules
	found func(ctx context.Context, p string) // a file that has to be read

	// Of git repositories: files that are read after all refs, and directories
	// that are walked last. What is entered there stays when it is looked at again.
	packedRefs map[string]bool
	objects    []string
	entered    map[string]bool
}

// scan returns the workspace as entries in order. store is called, several
// at a time, for files that may have changed, and answers with what to enter.
func (w *Workspace) scan(ctx context.Context, store func(context.Context, string, *tree) error) (*tree, error) {
	t := &tree{}
	rules, err := w.readIgnore()
	if err != nil {
		return nil, err
	}
	s := &scanner{w: w, t: t, rules: rules, packedRefs: map[string]bool{}}
	if err := s.pass(ctx, []string{""}, store); err != nil {
		return nil, err
	}
	if err := s.repositories(ctx, store); err != nil {
		return nil, err
	}
	slices.SortStableFunc(t.entries, func(a, b known) int { return strings.Compare(a.Path, b.Path) })
	t.entries = slices.CompactFunc(t.entries, func(a, b known) bool { return a.Path == b.Path })
	return t, nil
}

// pass walks directories while workers read what it finds, and waits for both.
func (s *scanner) pass(ctx context.Context, paths []string, store func(context.Context, string, *tree) error) error {
	if len(paths) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan string, workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for p := range queue {
				if ctx.Err() != nil {
					continue
				}
				if err := store(ctx, p, s.t); err != nil {
					cancel(err)
				}
			}
		})
	}
	s.found = func(ctx context.Context, p string) {
		select {
		case queue <- p:
		case <-ctx.Done():
		}
	}
	var err error
	for _, p := range paths {
		if err = s.visit(ctx, p); err != nil {
			break
		}
	}
	close(queue)
	wg.Wait()
	if err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (s *scanner) walk(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	names, err := os.ReadDir(filepath.Join(s.w.local.dir, dir))
	if err != nil {
		if dir == "" {
			return fmt.Errorf("read workspace: %w", err)
		}
		return s.unreadable(dir, err)
	}
	for _, d := range names {
		p := d.Name()
		if dir != "" {
			p = dir + "/" + p
		}
		if p == reserved || s.entered[p] {
			continue
		}
		if s.isPackedRefs(p) {
			s.packedRefs[p] = true
			continue
		}
		if err := s.look(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// visit walks a directory, or takes in a file that was put off.
func (s *scanner) visit(ctx context.Context, p string) error {
	if path.Base(p) == packedRefs {
		return s.look(ctx, p)
	}
	return s.walk(ctx, p)
}

// look takes in a path unless it is ignored.
func (s *scanner) look(ctx context.Context, p string) error {
	info, err := os.Lstat(filepath.Join(s.w.local.dir, p))
	if err != nil {
		return s.unreadable(p, err)
	}
	if s.rules.match(p, info.IsDir()) {
		s.t.ignored++
		return nil
	}
	return s.enter(ctx, p, info)
}

// enter takes in one path.
func (s *scanner) enter(ctx context.Context, p string, info fs.FileInfo) error {
	e := Entry{Path: p, Mode: unixMode(info.Mode()), MTime: info.ModTime().UnixNano()}
	switch mode := info.Mode(); {
	case mode.IsDir():
		e.Kind = Dir
		s.t.add(known{Entry: e})
		if s.isGitObjects(p) {
			s.objects = append(s.objects, p)
			s.packedRefs[path.Join(path.Dir(p), packedRefs)] = true // which may come yet
			return nil
		}
		return s.walk(ctx, p)
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(filepath.Join(s.w.local.dir, p))
		if err != nil {
			return s.unreadable(p, err)
		}
		s.t.add(known{Entry: Entry{Path: p, Kind: Link, Mode: 0o777, Target: target}})
	case mode.IsRegular():
		return s.file(ctx, p, info)
	default:
		s.t.skipped.add(p, "it is not a file, directory or link")
	}
	return nil
}

func (s *scanner) file(ctx context.Context, p string, info fs.FileInfo) error {
	cfg := s.w.b.cfg
	was, saved := s.w.base[p]
	saved = saved && was.Kind == File
	if !saved { // a limit never takes out what is in a generation
		reason := ""
		switch size := info.Size(); {
		case size > cfg.MaxFileBytes:
			reason = fmt.Sprintf("it has more than %d bytes", cfg.MaxFileBytes)
		case s.t.files >= cfg.MaxFiles:
			reason = fmt.Sprintf("the workspace has more than %d files", cfg.MaxFiles)
		case s.t.bytes+size > cfg.MaxBytes:
			reason = fmt.Sprintf("the workspace has more than %d bytes", cfg.MaxBytes)
		}
		if reason != "" {
			s.t.skipped.add(p, reason)
			return nil
		}
	}
	if saved && info.Size() > maxParts*partSize {
		s.t.skipped.add(p, "it is too long for S3; its last saved state is kept")
		s.t.add(was)
		return nil
	}
	s.t.files++
	s.t.bytes += info.Size()
	now := looksOf(info, time.Now())
	if saved && was.looks.unchanged(now) {
		s.t.add(was)
		return nil
	}
	s.found(ctx, p)
	return nil
}

// unreadable keeps what the base has at and below a path that cannot be read:
// an error must not look like a deletion. Gone is gone.
func (s *scanner) unreadable(p string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		s.t.vanished.Add(1)
		return nil
	}
	s.w.keep(s.t, p, bare(err))
	return nil
}

// keep enters what the base has at and below a path, and reports it.
func (w *Workspace) keep(t *tree, p, reason string) {
	t.skipped.add(p, reason)
	top, saved := w.base[p]
	if !saved {
		return
	}
	t.add(top)
	if top.Kind != Dir {
		return
	}
	for q, k := range w.base {
		if strings.HasPrefix(q, p+"/") {
			t.add(k)
		}
	}
}

// bare is an error of the file system without its path, which is said apart.
func bare(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

func (w *Workspace) readIgnore() (ignoreRules, error) {
	info, err := w.local.root.Lstat(IgnoreFile)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxIgnore {
		return nil, ignore(err, fs.ErrNotExist)
	}
	b, err := w.local.root.ReadFile(IgnoreFile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", IgnoreFile, err)
	}
	return parseIgnore(b), nil
}
