package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"sync"

	"github.com/minio/minio-go/v7"
)

// merge brings outside edits into a directory whose files stay: only where the
// local file is what was saved. Elsewhere the local change wins.
func (p *placing) merge(ctx context.Context, r *Restored) error {
	p.report = r
	p.expect()
	if err := p.outside(ctx, false); err != nil {
		return err
	}
	for _, k := range p.w.base {
		if k.Kind == File {
			r.Files++
			r.Bytes += k.Size
		}
	}
	p.show(0, 0, true)
	return nil
}

// outside puts the plain files of other programs in their places. imported:
// they are all there is, and no news.
func (p *placing) outside(ctx context.Context, imported bool) error {
	root := p.w.local.root
	for _, folder := range p.in.folders {
		if !imported {
			break // an empty folder is no edit
		}
		if err := root.MkdirAll(folder, 0o755); err != nil {
			p.in.skipped.add(folder, bare(err))
		}
	}
	var dirs sync.Mutex
	return parallel(ctx, p.in.files, func(ctx context.Context, f outside) error {
		temp, vol := p.temp(), p.w.local.vol
		defer vol.Remove(temp)
		sum, err := p.fetchPlain(ctx, temp, &f)
		if errors.Is(err, errMoved) {
			p.in.skipped.add(f.path, "it was written or deleted while it was read")
			return nil
		}
		if err != nil {
			return fmt.Errorf("file %.200q: %w", f.path, err)
		}
		same := sum == f.sum // a copy of ours that was not journalled in time
		if same {
			f.mtime = f.saved
		}
		put := false
		err = p.within(f.path, func(string) error {
			put, err = p.outsideFile(f, sum, temp, &dirs)
			return err
		})
		if err != nil || !put {
			return err
		}
		p.note(f, sum, !same && !imported)
		p.show(1, f.size, false)
		return nil
	})
}

// outsideFile puts an outside file, which was read into temp, in its place, and
// says whether it has.
func (p *placing) outsideFile(f outside, sum Sum, temp string, dirs *sync.Mutex) (bool, error) {
	if p.report.Local {
		if applied, err := p.settleLocal(f, sum, temp); err != nil || applied {
			return false, err
		}
	}
	dirs.Lock()
	err := p.folder(path.Dir(f.path))
	dirs.Unlock()
	if err != nil {
		return false, err
	}
	l := p.w.local
	if err := errors.Join(l.vol.Chmod(temp, fileMode(f.mode)), l.setTime(temp, stampOfTime(f.mtime))); err != nil {
		return false, err
	}
	put := p.renameOpen
	if p.report.Local {
		put = l.place // over a file that a generation has
	}
	return true, put(temp, f.path)
}

// note takes up an outside edit: its plain file is as it has to be.
func (p *placing) note(f outside, sum Sum, edit bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.w.plain[f.path] = synced(f.etag, sum)
	if edit {
		p.report.Outside = append(p.report.Outside, f.path)
	}
}

// settleLocal says whether there is nothing to put in place: the local file is
// this already, or holds a change of its own. The outside edit is then moved to
// RecoveredDir.
func (p *placing) settleLocal(f outside, sum Sum, temp string) (bool, error) {
	if there, err := p.has(f.path, f.size, sum); err != nil || there {
		if err == nil {
			p.note(f, sum, sum != f.sum)
		}
		return true, err
	}
	info, err := p.lstat(f.path)
	if err != nil {
		return true, err
	}
	saved := p.w.base[f.path]
	untouched := info == nil && saved.Kind == ""
	if saved.Kind == File {
		if untouched, err = p.has(f.path, saved.Size, saved.Sum); err != nil {
			return true, err
		}
	}
	if untouched && sum != f.sum {
		return false, nil
	}
	if sum != f.sum { // the plain file will be overwritten: its bytes go where they are saved
		to := path.Join(p.under, f.path)
		if err := errors.Join(p.w.local.root.MkdirAll(path.Dir(to), 0o755), p.w.local.place(temp, to)); err != nil {
			return true, err
		}
		p.asides.Add(1)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.w.plain[f.path] = plainFile{etags: map[string]Sum{f.etag: sum}}
	if sum != f.sum {
		p.report.Overruled = append(p.report.Overruled, f.path)
	}
	return true, nil
}

// folder makes a directory for an outside file, with those above it.
func (p *placing) folder(q string) error {
	if q == "." {
		return nil
	}
	info, err := p.lstat(q)
	if err != nil {
		return err
	}
	if info != nil && info.IsDir() {
		return nil
	}
	if err := p.folder(path.Dir(q)); err != nil {
		return err
	}
	if info != nil {
		if err := p.aside(q); err != nil {
			return err
		}
	}
	if err := p.w.local.root.Mkdir(q, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// fetchPlain writes a plain file to a new file, if it still is the one that
// was listed.
func (p *placing) fetchPlain(ctx context.Context, temp string, f *outside) (sum Sum, err error) {
	file, err := p.w.local.vol.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return sum, err
	}
	defer file.Close()
	moved := false
	err = try(ctx, "read an object", func() error {
		body, info, err := p.w.b.open(ctx, p.w.b.key(f.path), f.etag)
		if moved = isMissing(err) || isRefused(err); moved {
			return nil
		}
		if err != nil {
			return err
		}
		defer body.Close()
		if t, ok := rcloneTime(mtimeOf(info)); ok {
			f.mtime = t
		}
		n, got, err := p.write(file, body, false)
		if err == nil && n != info.Size {
			err = fmt.Errorf("got %d bytes of %d", n, info.Size)
		}
		sum = got
		return err
	})
	if moved {
		return sum, errMoved
	}
	return sum, errors.Join(err, file.Close())
}

func mtimeOf(info minio.ObjectInfo) string {
	return http.Header(info.Metadata).Get("X-Amz-Meta-Mtime")
}
