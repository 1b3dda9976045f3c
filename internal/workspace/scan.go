package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// tree is one scan of the workspace.
type tree struct {
	mu      sync.Mutex
	entries []known

	left         notes // files, directories and links that are not in it, or not in their newest state
	special      notes // what is none of these
	unsettled    notes
	ignored      int   // paths, a directory counting once
	ignoredBytes int64 // of a final scan
	files        int   // found so far, for the limits
	bytes        int64 // the same

	// out are the paths that are there, and that the tree does not have as they
	// are, or has not at all. What lies below one is out, too.
	out map[string]bool

	vanished atomic.Int64 // paths that were listed and then not there
}

func (t *tree) leaveOut(p string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out[p] = true
}

// absent says whether a path that is not in the tree is not on the disk either.
func (t *tree) absent(p string) bool {
	for ; p != "."; p = path.Dir(p) {
		if t.out[p] {
			return false
		}
	}
	return true
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
	// final: the programs have ended, so that files may be opened to their owner
	// for the moment of the read, and those are read again that may have been
	// written without a trace.
	final  bool
	window time.Duration
	opened []opened // directories, to be closed again

	// Of git repositories: files that are read after all refs, and directories
	// that are walked last. What is entered there stays when it is looked at again.
	packedRefs map[string]bool
	objects    []string
	entered    map[string]bool
}

// scan returns the workspace as entries in order. store is called, several
// at a time, for files that may have changed, and answers with what to enter.
func (w *Workspace) scan(ctx context.Context, store func(context.Context, string, *tree) error) (*tree, error) {
	t := &tree{out: map[string]bool{}}
	rules, err := w.readIgnore()
	if err != nil {
		return nil, err
	}
	s := &scanner{w: w, t: t, rules: rules, packedRefs: map[string]bool{}, final: w.final, window: doubt}
	if s.final {
		s.window = dirtyExpiry()
	}
	defer s.closeAgain()
	if err := s.pass(ctx, []string{""}, store); err != nil {
		return nil, err
	}
	if err := s.repositories(ctx, store); err != nil {
		return nil, err
	}
	slices.SortStableFunc(t.entries, func(a, b known) int { return strings.Compare(a.Path, b.Path) })
	t.entries = slices.CompactFunc(t.entries, func(a, b known) bool { return a.Path == b.Path })
	hardLinks(t.entries)
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
	s.openDir(dir)
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
		if s.entered[p] {
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
		s.t.leaveOut(p)
		if s.final {
			s.t.ignoredBytes += s.size(p)
		}
		return nil
	}
	return s.enter(ctx, p, info)
}

// size counts the bytes of the files at and below a path, so far as they can be
// read.
func (s *scanner) size(p string) (n int64) {
	_ = filepath.WalkDir(filepath.Join(s.w.local.dir, p), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// enter takes in one path.
func (s *scanner) enter(ctx context.Context, p string, info fs.FileInfo) error {
	e := Entry{Path: p, Mode: unixMode(info.Mode()), MTime: stampOf(info)}
	switch mode := info.Mode(); {
	case mode.IsDir():
		e.Kind = Dir
		s.openDir(p)
		var err error
		if e.Attrs, err = attributes(nil, filepath.Join(s.w.local.dir, p)); err != nil {
			return s.unreadable(p, err)
		}
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
		s.t.add(known{Entry: Entry{Path: p, Kind: Link, Mode: 0o777, MTime: e.MTime, Target: target}})
	case mode.IsRegular():
		return s.file(ctx, p, info)
	default:
		s.t.special.add(p, "it is not a file, directory or link")
		s.t.leaveOut(p)
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
			s.t.left.add(p, reason)
			s.t.leaveOut(p)
			return nil
		}
	}
	if saved && info.Size() > maxParts*partSize {
		s.t.left.add(p, "it is too long for S3; its last saved state is kept")
		s.t.leaveOut(p)
		s.t.add(was)
		return nil
	}
	s.t.files++
	s.t.bytes += info.Size()
	now := looksOf(info, time.Now())
	if saved && was.looks.unchanged(now, s.window) {
		s.t.add(was)
		return nil
	}
	s.found(ctx, p)
	return nil
}

// opened is a directory whose mode was changed.
type opened struct {
	path string
	mode fs.FileMode
}

// openDir lets the owner read a directory that is closed to them, in a final scan.
func (s *scanner) openDir(dir string) {
	if !s.final {
		return
	}
	name := cmp.Or(dir, ".")
	info, err := s.w.local.root.Lstat(name)
	if err != nil || !info.IsDir() || info.Mode()&0o500 == 0o500 {
		return
	}
	if s.w.local.root.Chmod(name, info.Mode()|0o700) == nil {
		s.opened = append(s.opened, opened{name, info.Mode()})
	}
}

// closeAgain gives directories their modes back, the deepest first.
func (s *scanner) closeAgain() {
	for _, d := range slices.Backward(s.opened) {
		s.w.local.root.Chmod(d.path, d.mode)
	}
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
	t.left.add(p, reason)
	t.leaveOut(p)
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
	f, _, err := w.local.openFile(IgnoreFile, true)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", IgnoreFile, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxIgnore))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", IgnoreFile, err)
	}
	return parseIgnore(b), nil
}
