package workspace

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// placing puts files into the directory. Every file is written beside, checked,
// and renamed to its place; links are made last, so that nothing is ever
// written through one; os.Root holds all of it inside the directory.
type placing struct {
	w        *Workspace
	in       *survey
	progress func(Progress)
	under    string           // the folder of what gives way
	clears   bool             // what the base does not have gives way, too
	image    bool             // what is here has come with the image, and was not restored before
	before   map[string]Entry // the generation that was restored here before, if it is kept
	asides   atomic.Int64
	temps    atomic.Int64

	mu     sync.Mutex
	done   Progress
	shown  time.Time
	report *Restored
	taken  map[fileID]bool // files of the volume that are a path of the base already
}

func newPlacing(w *Workspace, in *survey, progress func(Progress)) *placing {
	now := time.Now().UTC().Format("20060102-150405.000000")
	p := &placing{w: w, in: in, progress: progress, under: path.Join(RecoveredDir, now), taken: map[fileID]bool{}}
	edited := slices.ContainsFunc(in.files, func(f outside) bool { return f.path == RecoveredDir })
	saved, ok := w.base[RecoveredDir]
	info, err := p.lstat(RecoveredDir)
	if edited || ok && saved.Kind != Dir || err == nil && info != nil && !info.IsDir() {
		p.under = RecoveredDir + "-" + now // that name is the user's
	}
	return p
}

// all makes the directory what the base and the outside edits say.
func (p *placing) all(ctx context.Context, r *Restored) error {
	p.report = r
	edited := p.expect()
	if p.clears {
		if err := p.clear(".", edited); err != nil {
			return err
		}
	}
	var paths []string
	for _, q := range slices.Sorted(maps.Keys(p.w.base)) {
		if !edited[q] {
			paths = append(paths, q)
		}
	}
	err := p.bring(ctx, paths, func() error { return p.outside(ctx, p.w.header.Generation == 0) })
	if err != nil {
		return err
	}
	r.Files, r.Bytes = p.done.Files, p.done.Bytes
	p.show(0, 0, true)
	return nil
}

// expect counts the outside edits, and returns their paths.
func (p *placing) expect() map[string]bool {
	edited := map[string]bool{}
	for _, f := range p.in.files {
		edited[f.path] = true
		p.done.TotalFiles++
		p.done.TotalBytes += f.size
	}
	return edited
}

// bring makes the directory at these paths, which are in order, what the base
// says. meanwhile is called when directories and files are there.
func (p *placing) bring(ctx context.Context, paths []string, meanwhile func() error) error {
	var dirs, files, links, hard []string
	for _, q := range paths {
		switch k := p.w.base[q]; k.Kind {
		case Dir:
			dirs = append(dirs, q)
		case Link:
			links = append(links, q)
		case File:
			if p.isHardLink(k) {
				hard = append(hard, q)
				continue
			}
			fallthrough
		default:
			files = append(files, q)
			p.done.TotalFiles++
			p.done.TotalBytes += k.Size
		}
	}
	for _, dir := range dirs {
		if err := p.within(dir, p.dir); err != nil {
			return err
		}
	}
	// the largest first: none is left to come alone at the end
	slices.SortStableFunc(files, func(a, b string) int { return cmp.Compare(p.w.base[b].Size, p.w.base[a].Size) })
	if err := parallel(ctx, files, p.file); err != nil {
		return err
	}
	for _, q := range hard {
		if err := p.hardLink(ctx, q); err != nil {
			return err
		}
	}
	if err := meanwhile(); err != nil {
		return err
	}
	for _, q := range links {
		if err := p.within(q, p.link); err != nil {
			return err
		}
	}
	slices.Reverse(dirs) // a directory's time is that of the last write in it
	for _, dir := range dirs {
		if err := p.finishDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// fill brings what the base has and the directory has not.
func (p *placing) fill(ctx context.Context, r *Restored) error {
	p.report = r
	var missing []string
	absent := map[string]bool{} // directories
	for _, q := range slices.Sorted(maps.Keys(p.w.base)) {
		// below what is not a directory here, nothing can be brought
		if dir := path.Dir(q); !absent[dir] {
			if info, err := p.lstat(dir); err != nil || info == nil || !info.IsDir() {
				continue
			}
			if info, err := p.lstat(q); err != nil || info != nil {
				continue
			}
		}
		missing = append(missing, q)
		if absent[q] = p.w.base[q].Kind == Dir; !absent[q] {
			r.BroughtBack++
		}
	}
	return p.bring(ctx, missing, func() error { return nil })
}

// show reports progress, not too often.
func (p *placing) show(files int, bytes int64, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done.Files += files
	p.done.Bytes += bytes
	if p.progress != nil && (end || time.Since(p.shown) > 100*time.Millisecond) {
		p.shown = time.Now()
		p.progress(p.done)
	}
}

// lstat returns nil where there is nothing.
func (p *placing) lstat(q string) (fs.FileInfo, error) {
	info, err := p.w.local.root.Lstat(q)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return info, err
}

// within does what may put something in the place of a path, or move it aside.
func (p *placing) within(q string, do func(string) error) error {
	return p.w.local.within(func() error { return do(q) }, q, path.Join(p.under, q))
}

// aside moves what is in the way below the RecoveredDir. What the generation has
// that was restored here before is removed: its bytes are in the bucket. So is a
// file that an image has brought with its volume: the workspace was never
// restored there, and the file is older than the generation.
func (p *placing) aside(q string) error {
	info, err := p.lstat(q)
	if err != nil {
		return err
	}
	saved, err := p.saved(q, info)
	if err != nil {
		return err
	}
	if saved || p.image && info.Mode().IsRegular() && !info.ModTime().After(p.w.header.At) {
		return p.w.local.root.Remove(q)
	}
	p.asides.Add(1)
	return p.w.local.aside(q, path.Join(p.under, q))
}

func (p *placing) dir(q string) error {
	info, err := p.lstat(q)
	if err != nil {
		return err
	}
	root := p.w.local.root
	switch {
	case info == nil:
	case info.IsDir():
		if info.Mode().Perm()&0o700 == 0o700 {
			return nil
		}
		return root.Chmod(q, 0o700)
	default:
		if err := p.aside(q); err != nil {
			return err
		}
	}
	return root.Mkdir(q, 0o700)
}

func (p *placing) finishDir(q string) error {
	k := p.w.base[q]
	l := p.w.local
	p.setAttributes(l.inVolume(q), k.Entry)
	if err := l.root.Chmod(q, fileMode(k.Mode)); err != nil {
		return err
	}
	return l.setTime(l.inVolume(q), k.MTime)
}

func (p *placing) link(q string) error {
	root := p.w.local.root
	info, err := p.lstat(q)
	if err != nil {
		return err
	}
	if info != nil {
		if target, err := root.Readlink(q); err == nil && target == p.w.base[q].Target {
			return p.w.local.setTime(p.w.local.inVolume(q), p.w.base[q].MTime)
		}
		if err := p.aside(q); err != nil {
			return err
		}
	}
	if err := root.Symlink(p.w.base[q].Target, q); err != nil {
		return err
	}
	return p.w.local.setTime(p.w.local.inVolume(q), p.w.base[q].MTime)
}

// clear moves aside what the base does not have.
func (p *placing) clear(dir string, edited map[string]bool) error {
	info, err := p.lstat(dir)
	if err != nil || info == nil {
		return err
	}
	if info.Mode()&0o700 != 0o700 {
		if err := p.w.local.root.Chmod(dir, info.Mode()|0o700); err != nil {
			return err
		}
		defer p.w.local.root.Chmod(dir, info.Mode())
	}
	f, err := p.w.local.root.Open(dir)
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, name := range names {
		q := path.Join(dir, name)
		if q == RecoveredDir || edited[q] {
			continue // what earlier restores have set aside stays
		}
		k, ok := p.w.base[q]
		info, err := p.lstat(q)
		switch {
		case err != nil:
			return err
		case info == nil:
		case !ok && info.IsDir() && (p.above(q) || p.before[q].Kind == Dir):
			if err = p.clear(q, edited); err == nil {
				p.w.local.root.Remove(q) // unless something is in it
			}
		case !ok:
			err = p.aside(q)
		case info.IsDir() && k.Kind == Dir:
			err = p.clear(q, edited)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// above says whether an outside edit lies below a path.
func (p *placing) above(q string) bool {
	return slices.ContainsFunc(p.in.files, func(f outside) bool { return strings.HasPrefix(f.path, q+"/") })
}
