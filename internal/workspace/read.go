package workspace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// errChanged: the file is not what it was when reading began.
var errChanged = errors.New("it changes while it is read")

// fileError is one of a single file, not of the store.
type fileError struct{ err error }

func (e *fileError) Error() string { return e.err.Error() }

func (e *fileError) Unwrap() error { return e.err }

// openFile opens a regular file without following a link or waiting for a pipe.
// Where open says so, a file that is closed to its owner is opened for a moment.
func (l *local) openFile(p string, open bool) (*os.File, fs.FileInfo, error) {
	l.closed.RLock()
	f, info, err := l.openStat(p)
	l.closed.RUnlock()
	if open && errors.Is(err, fs.ErrPermission) {
		f, info, err = l.openClosed(p, err)
	}
	if err != nil {
		return nil, nil, &fileError{err}
	}
	if !info.Mode().IsRegular() {
		err = errChanged
	} else {
		var there fs.FileInfo
		if there, err = l.root.Lstat(p); err == nil && !os.SameFile(info, there) {
			err = errChanged
		}
	}
	if err != nil {
		f.Close()
		return nil, nil, &fileError{err}
	}
	return f, info, nil
}

func (l *local) openStat(p string) (*os.File, fs.FileInfo, error) {
	f, err := l.root.OpenFile(p, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// openClosed opens a regular file that its owner may not read, and leaves it with
// the mode it had. Who has another name of the file sees only that mode.
func (l *local) openClosed(p string, denied error) (*os.File, fs.FileInfo, error) {
	l.closed.Lock()
	defer l.closed.Unlock()
	before, err := l.root.Lstat(p)
	if err != nil || !before.Mode().IsRegular() || before.Mode()&0o400 != 0 || l.root.Chmod(p, before.Mode()|0o400) != nil {
		return nil, nil, denied
	}
	f, _, err := l.openStat(p)
	if err := errors.Join(err, l.root.Chmod(p, before.Mode())); err != nil {
		if f != nil {
			f.Close()
		}
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
	}
	return f, info, err
}

// read uploads a file as it is, or fails with errChanged.
func (u *uploader) read(ctx context.Context, p string) (known, error) {
	f, info, err := u.local.openFile(p, u.open)
	if err != nil {
		return known{}, err
	}
	defer f.Close()
	k := known{looks: looksOf(info, time.Now())}
	k.Entry, err = u.content(ctx, f, info.Size(), func() error {
		after, err := f.Stat()
		if err != nil {
			return &fileError{err}
		}
		if now := looksOf(after, time.Now()); now.size != k.looks.size || now.mtime != k.looks.mtime || now.ctime != k.looks.ctime {
			return &fileError{errChanged}
		}
		return nil
	})
	if err != nil {
		return k, err
	}
	k.Path, k.Kind, k.Mode, k.MTime, k.Disk = p, File, unixMode(info.Mode()), stampOf(info), allocated(info)
	if k.Attrs, err = attributes(f, ""); err != nil {
		return k, &fileError{err}
	}
	return k, nil
}

// readCopy uploads a private copy of a file that never holds still.
func (u *uploader) readCopy(ctx context.Context, p string) (known, error) {
	f, info, err := u.local.openFile(p, u.open)
	if err != nil {
		return known{}, err
	}
	defer f.Close()
	temp := u.local.temp(newAuthor())
	c, err := u.local.vol.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return known{}, &fileError{err}
	}
	defer u.local.vol.Remove(temp)
	defer c.Close()
	n, err := io.Copy(c, io.LimitReader(f, maxParts*partSize))
	if err != nil {
		return known{}, &fileError{err}
	}
	e, err := u.content(ctx, c, n, func() error { return nil })
	if err != nil {
		return known{}, err
	}
	e.Path, e.Kind, e.Mode, e.MTime, e.Disk = p, File, unixMode(info.Mode()), stampOf(info), allocated(info)
	if e.Attrs, err = attributes(f, ""); err != nil {
		return known{}, &fileError{err}
	}
	return known{Entry: e}, nil
}

// content hashes size bytes of a file, asks whether it still is what it was,
// and uploads them. Nothing gets a name in the bucket that is not the hash of
// what was sent.
func (u *uploader) content(ctx context.Context, f *os.File, size int64, still func() error) (e Entry, err error) {
	e.Size = size
	buf := u.buffer()
	defer func() { u.bufs <- buf }()
	if size <= smallFile {
		if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), buf[:size]); err != nil {
			return e, changedOr(err)
		}
		e.Sum = sha256.Sum256(buf[:size])
		if err := still(); err != nil {
			return e, err
		}
		e.ETag, err = u.once(ctx, e.Sum, size, func() (string, error) {
			return u.b.putSum(ctx, u.b.objectKey(e.Sum), bytes.NewReader(buf[:size]), size, e.Sum, u.b.putOptions())
		})
		return e, err
	}
	whole := sha256.New()
	var parts []*checked
	for at := int64(0); at < size; at += partSize {
		p := &checked{SectionReader: io.NewSectionReader(f, at, min(partSize, size-at)), hash: sha256.New()}
		if n, err := io.CopyBuffer(onlyWriter{io.MultiWriter(whole, p.hash)}, onlyReader{p.SectionReader}, buf); err != nil || n != p.Size() {
			return e, changedOr(err)
		}
		p.hash.Sum(p.sum[:0])
		p.hash.Reset()
		p.left = p.Size()
		parts = append(parts, p)
	}
	whole.Sum(e.Sum[:0])
	if err := still(); err != nil {
		return e, err
	}
	e.ETag, err = u.once(ctx, e.Sum, size, func() (string, error) {
		if len(parts) > 1 {
			return u.parts(ctx, parts, size, e.Sum)
		}
		etag, err := u.b.putSum(ctx, u.b.objectKey(e.Sum), parts[0], size, e.Sum, u.b.putOptions())
		return etag, parts[0].blame(err)
	})
	return e, err
}

// checked reads a part of a file, and fails before its last byte if what it
// has read is not what was hashed: so the store never has all of it.
type checked struct {
	*io.SectionReader
	sum     Sum
	hash    hash.Hash
	left    int64
	changed bool
}

func (c *checked) Read(b []byte) (int, error) {
	n, err := c.SectionReader.Read(b)
	c.hash.Write(b[:n])
	if c.left -= int64(n); c.left == 0 && Sum(c.hash.Sum(nil)) != c.sum || err == io.EOF && c.left > 0 {
		c.changed = true
		return 0, errChanged
	}
	return n, err
}

// Seek begins anew, which is all that the client asks for.
func (c *checked) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekStart {
		return 0, errors.ErrUnsupported
	}
	c.hash.Reset()
	c.left = c.Size()
	return c.SectionReader.Seek(0, io.SeekStart)
}

// blame tells an upload that failed because the file changed from others.
func (c *checked) blame(err error) error {
	if err != nil && c.changed {
		return &fileError{errChanged}
	}
	return err
}

// CopyBuffer uses its buffer only where neither side knows better.
type onlyWriter struct{ io.Writer }

type onlyReader struct{ io.Reader }

func changedOr(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errChanged
	}
	return &fileError{err}
}
