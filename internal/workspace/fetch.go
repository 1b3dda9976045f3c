package workspace

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"sync"
	"time"
)

// saved says whether the generation that was restored here before has what
// stands at a path.
func (p *placing) saved(q string, info fs.FileInfo) (bool, error) {
	switch k, ok := p.before[q]; {
	case ok && k.Kind == File:
		return p.has(q, k.Size, k.Sum)
	case ok && k.Kind == Link && info.Mode()&fs.ModeSymlink != 0:
		target, err := p.w.local.root.Readlink(q)
		return err == nil && target == k.Target, nil
	}
	return false, nil
}

// isHardLink says whether an entry is another name of a file of the base.
func (p *placing) isHardLink(k known) bool {
	first, ok := p.w.base[k.Hard]
	return k.Hard != "" && ok && first.Kind == File && first.Hard == "" && first.Sum == k.Sum
}

// hardLink gives a file of the base, which is in its place, another name.
func (p *placing) hardLink(ctx context.Context, q string) error {
	root, k := p.w.local.root, p.w.base[q]
	first, err := root.Lstat(k.Hard)
	if err != nil || !first.Mode().IsRegular() || p.w.base[k.Hard].looks.at == 0 {
		return p.file(ctx, q) // the first is not what the base has
	}
	err = p.within(q, func(q string) error {
		info, err := p.lstat(q)
		if err != nil || info != nil && os.SameFile(info, first) {
			return err
		}
		if info != nil {
			if err := p.aside(q); err != nil {
				return err
			}
		}
		return root.Link(k.Hard, q)
	})
	if err != nil {
		return p.file(ctx, q) // a copy has the same content
	}
	if first, err = root.Lstat(k.Hard); err != nil {
		return err
	}
	for _, name := range []string{k.Hard, q} { // a further name changes what the others look like
		known := p.w.base[name]
		known.looks = looksOf(first, time.Now())
		p.w.base[name] = known
	}
	p.done.TotalFiles++
	p.show(1, 0, false)
	return nil
}

// setAttributes gives a path in the volume an entry's extended attributes. Where the
// file system cannot keep them, that is said of the file.
func (p *placing) setAttributes(name string, e Entry) {
	if err := p.w.local.setAttributes(name, e.Attrs); err != nil {
		p.in.skipped.add(e.Path, "its extended attributes cannot be kept on this node: "+bare(err))
	}
}

// file puts one file of the base in its place, unless it is there.
func (p *placing) file(ctx context.Context, q string) error {
	p.mu.Lock()
	k := p.w.base[q]
	p.mu.Unlock()
	there, err := p.has(q, k.Size, k.Sum)
	if err != nil {
		return err
	}
	var info fs.FileInfo
	if there {
		there, err = p.takes(q)
		if err != nil {
			return err
		}
	}
	if there {
		l := p.w.local
		p.setAttributes(l.inVolume(q), k.Entry)
		if err := errors.Join(l.root.Chmod(q, fileMode(k.Mode)), l.setTime(l.inVolume(q), k.MTime)); err != nil {
			return err
		}
		info, err = l.root.Lstat(q)
	} else {
		info, err = p.place(ctx, k.Entry)
	}
	if err != nil {
		return err
	}
	k.looks = looksOf(info, time.Now())
	p.mu.Lock()
	p.w.base[q] = k
	p.mu.Unlock()
	p.show(1, k.Size, false)
	return nil
}

// takes says whether the file at a path can be the base's there. One that is another
// path already, as a hard link that the base has not, would have that one's mode
// and time.
func (p *placing) takes(q string) (bool, error) {
	info, err := p.w.local.root.Lstat(q)
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	id := idOf(info)
	if p.taken[id] {
		return false, nil
	}
	p.taken[id] = true
	return true, nil
}

// place writes an object to a new file, puts that in its place, and returns how
// it looks there.
func (p *placing) place(ctx context.Context, e Entry) (info fs.FileInfo, err error) {
	vol, temp, placed := p.w.local.vol, p.temp(), false
	f, err := vol.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if !placed {
			vol.Remove(temp)
		}
	}()
	if err := p.fetch(ctx, f, e); err != nil {
		return nil, fmt.Errorf("file %.200q: %w", e.Path, err)
	}
	p.setAttributes(temp, e)
	if err := errors.Join(f.Chmod(fileMode(e.Mode)), p.w.local.setTime(temp, e.MTime)); err != nil {
		return nil, err
	}
	if err := p.rename(temp, e.Path); err != nil {
		return nil, err
	}
	placed = true
	return f.Stat()
}

// rename puts a finished file in its place; what stands there gives way.
func (p *placing) rename(temp, q string) error {
	return p.within(q, func(q string) error { return p.renameOpen(temp, q) })
}

func (p *placing) renameOpen(temp, q string) error {
	info, err := p.lstat(q)
	if err != nil {
		return err
	}
	if info != nil {
		if err := p.aside(q); err != nil {
			return err
		}
	}
	return p.w.local.place(temp, q)
}

func (p *placing) temp() string {
	return p.w.local.temp(strconv.FormatInt(p.temps.Add(1), 10))
}

// has says whether a regular file with this content stands at a path.
func (p *placing) has(q string, size int64, sum Sum) (bool, error) {
	info, err := p.lstat(q)
	if err != nil || info == nil || !info.Mode().IsRegular() || info.Size() != size {
		return false, err
	}
	f, _, err := p.w.local.openFile(q, true)
	if err != nil {
		return false, nil // one that cannot be read gives way
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return false, nil
	}
	return Sum(h.Sum(nil)) == sum, nil
}

// fetch writes an object to a file, and checks that it is what it is called.
func (p *placing) fetch(ctx context.Context, f *os.File, e Entry) error {
	if e.Size == 0 {
		return nil
	}
	key := p.w.b.objectKey(e.Sum)
	return try(ctx, "read an object", func() error {
		body, _, err := p.w.b.open(ctx, key, "")
		if isMissing(err) {
			return damaged("The object %s, which generation %d needs, is missing.", e.Sum, p.w.header.Generation)
		}
		if err != nil {
			return err
		}
		defer body.Close()
		n, sum, err := p.write(f, body, e.Disk > 0)
		if err == nil && (n != e.Size || sum != e.Sum) {
			err = damaged("The object %s is not what its name says.", e.Sum)
		}
		return err
	})
}

// buffers are for copying what is longer than the connection's own.
var buffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// write replaces what a file holds, with holes in place of zeros if it is sparse.
func (p *placing) write(f *os.File, r io.Reader, sparse bool) (int64, Sum, error) {
	if err := errors.Join(f.Truncate(0), second(f.Seek(0, io.SeekStart))); err != nil {
		return 0, Sum{}, err
	}
	h := sha256.New()
	buffer := buffers.Get().(*[128 << 10]byte)
	defer buffers.Put(buffer)
	if !sparse {
		n, err := io.CopyBuffer(io.MultiWriter(f, h), r, buffer[:])
		return n, Sum(h.Sum(nil)), err
	}
	blocks := bufio.NewWriterSize(&holes{f: f}, len(buffer)) // whole ones
	n, err := io.CopyBuffer(onlyWriter{io.MultiWriter(blocks, h)}, onlyReader{r}, buffer[:])
	return n, Sum(h.Sum(nil)), errors.Join(err, blocks.Flush(), f.Truncate(n))
}

func second(_ int64, err error) error { return err }

// rcloneTime reads the time of modification that rclone keeps with an object.
func rcloneTime(s string) (time.Time, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || f > math.MaxInt64/1e9 {
		return time.Time{}, false
	}
	return time.Unix(0, int64(f*1e9)), true
}
