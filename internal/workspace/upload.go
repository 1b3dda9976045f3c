package workspace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
)

const (
	smallFile  = 128 << 10 // read into a worker's own buffer
	partSize   = 5 << 20   // the least that S3 allows for a part
	maxParts   = 10_000    // the most that S3 allows in an object
	bigBuffers = 3         // of partSize, shared
	readAgain  = 3         // how often a file that changes is read before it is copied
)

// errChanged: the file is not what it was when reading began.
var errChanged = errors.New("it changes while it is read")

// uploader brings file contents into the bucket, each once.
type uploader struct {
	b     *Bucket
	local *local
	small chan []byte
	big   chan []byte

	mu    sync.Mutex
	have  map[Sum]sentObject    // objects that the base has or that were uploaded since it was committed
	doing map[Sum]chan struct{} // closed when an upload has ended
	sent  int64                 // bytes
	count int                   // objects
}

// sentObject is an object that need not be sent again.
type sentObject struct {
	etag string
	at   time.Time // of the upload; zero: a generation has it
}

// trustUploads is for how long an object that no generation has yet is sure
// not to be collected.
const trustUploads = time.Hour

// begin starts the counts of one save.
func (u *uploader) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sent, u.count = 0, 0
	for sum, o := range u.have {
		if !o.at.IsZero() && time.Since(o.at) > trustUploads {
			delete(u.have, sum)
		}
	}
}

// rebase: a generation has these entries, and what else was uploaded is no
// longer to be relied on.
func (u *uploader) rebase(base map[string]known) {
	u.mu.Lock()
	defer u.mu.Unlock()
	clear(u.have)
	for _, k := range base {
		if k.Kind == File {
			u.have[k.Sum] = sentObject{etag: k.ETag}
		}
	}
}

// forget has an object uploaded again when it is next needed.
func (u *uploader) forget(sum Sum) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.have, sum)
}

func newUploader(b *Bucket, l *local) *uploader {
	u := &uploader{b: b, local: l, small: make(chan []byte, workers), big: make(chan []byte, bigBuffers), have: map[Sum]sentObject{}, doing: map[Sum]chan struct{}{}}
	for range workers {
		u.small <- nil
	}
	for range bigBuffers {
		u.big <- nil
	}
	return u
}

// take waits for a buffer of a pool, which makes it when first used.
func take(pool chan []byte, size int) []byte {
	if b := <-pool; b != nil {
		return b
	}
	return make([]byte, size)
}

// store reads a file until it holds still, uploads what the bucket has not,
// and enters it. Only the store's errors end a save; a file's are reported.
func (u *uploader) store(ctx context.Context, w *Workspace, p string, t *tree) error {
	var k known
	var err error
	for attempt := range readAgain {
		if k, err = u.read(ctx, p); !errors.Is(err, errChanged) || ctx.Err() != nil {
			break
		}
		pause(ctx, time.Duration(attempt+1)*20*time.Millisecond)
	}
	if errors.Is(err, errChanged) {
		k, err = u.readCopy(ctx, p)
	}
	var trouble *fileError
	switch {
	case err == nil:
		t.add(k)
		if k.looks.at == 0 {
			t.unsettled.add(p, "it changes all the time: saved as it was at one moment")
		}
	case errors.Is(err, fs.ErrNotExist):
	case errors.As(err, &trouble):
		w.keep(t, p, bare(trouble.err))
	default:
		return err
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// fileError is one of a single file, not of the store.
type fileError struct{ err error }

func (e *fileError) Error() string { return e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// openFile opens a regular file without following a link or waiting for a pipe.
func (l *local) openFile(p string) (*os.File, fs.FileInfo, error) {
	f, err := l.root.OpenFile(p, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, &fileError{err}
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errChanged
	} else if err == nil {
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

// read uploads a file as it is, or fails with errChanged.
func (u *uploader) read(ctx context.Context, p string) (known, error) {
	f, info, err := u.local.openFile(p)
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
	k.Path, k.Kind, k.Mode, k.MTime = p, File, unixMode(info.Mode()), info.ModTime().UnixNano()
	return k, err
}

// readCopy uploads a private copy of a file that never holds still.
func (u *uploader) readCopy(ctx context.Context, p string) (known, error) {
	f, info, err := u.local.openFile(p)
	if err != nil {
		return known{}, err
	}
	defer f.Close()
	temp := tempDir + "/" + newAuthor()
	c, err := u.local.root.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return known{}, &fileError{err}
	}
	defer u.local.root.Remove(temp)
	defer c.Close()
	n, err := io.Copy(c, io.LimitReader(f, maxParts*partSize))
	if err != nil {
		return known{}, &fileError{err}
	}
	e, err := u.content(ctx, c, n, func() error { return nil })
	e.Path, e.Kind, e.Mode, e.MTime = p, File, unixMode(info.Mode()), info.ModTime().UnixNano()
	return known{Entry: e}, err
}

// content hashes size bytes of a file, asks whether it still is what it was,
// and uploads them. Nothing gets a name in the bucket that is not the hash of
// what was sent.
func (u *uploader) content(ctx context.Context, f *os.File, size int64, still func() error) (e Entry, err error) {
	e.Size = size
	pool, length := u.small, smallFile
	if size > smallFile && size <= partSize {
		pool, length = u.big, partSize
	}
	buf := take(pool, length)
	defer func() { pool <- buf }()
	h := sha256.New()
	if size <= partSize {
		if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), buf[:size]); err != nil {
			return e, changedOr(err)
		}
		h.Write(buf[:size])
	} else if n, err := io.CopyBuffer(onlyWriter{h}, onlyReader{io.NewSectionReader(f, 0, size)}, buf); err != nil || n != size {
		return e, changedOr(err)
	}
	h.Sum(e.Sum[:0])
	if err := still(); err != nil {
		return e, err
	}
	e.ETag, err = u.once(ctx, e.Sum, size, func() (string, error) {
		if size > partSize {
			return u.parts(ctx, f, size, e.Sum)
		}
		return u.b.putSum(ctx, u.b.objectKey(e.Sum), buf[:size], e.Sum, u.b.putOptions())
	})
	return e, err
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

// once runs upload unless the bucket has the object, and remembers its ETag.
func (u *uploader) once(ctx context.Context, sum Sum, size int64, upload func() (string, error)) (string, error) {
	for {
		u.mu.Lock()
		if o, ok := u.have[sum]; ok {
			u.mu.Unlock()
			return o.etag, nil
		}
		done, busy := u.doing[sum]
		if !busy {
			done = make(chan struct{})
			u.doing[sum] = done
			u.mu.Unlock()
			etag, err := upload()
			u.mu.Lock()
			delete(u.doing, sum)
			if err == nil {
				u.have[sum] = sentObject{etag, time.Now()}
				u.sent += size
				u.count++
			}
			u.mu.Unlock()
			close(done)
			return etag, err
		}
		u.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// parts uploads a long file. It is hashed once more on the way, and completed
// only if it still is what its name says.
func (u *uploader) parts(ctx context.Context, f *os.File, size int64, sum Sum) (etag string, err error) {
	b, key := u.b, u.b.objectKey(sum)
	var id string
	err = try(ctx, "begin an upload", func() (err error) {
		id, err = b.s3.NewMultipartUpload(ctx, b.cfg.Bucket, key, b.putOptions())
		return err
	})
	if err != nil {
		return "", err
	}
	done, err := u.sendParts(ctx, f, size, sum, key, id)
	if err == nil {
		err = try(ctx, "complete an upload", func() error {
			info, err := b.s3.CompleteMultipartUpload(ctx, b.cfg.Bucket, key, id, done, b.putOptions())
			etag = info.ETag
			if err != nil { // it may be the second try of what has succeeded
				if there, found, _ := b.stat(ctx, key); found && there.Size == size && isMissing(err) {
					etag, err = there.ETag, nil
				}
			}
			return err
		})
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		b.s3.AbortMultipartUpload(ctx, b.cfg.Bucket, key, id) // else the sweep does
		return "", err
	}
	return etag, nil
}

func (u *uploader) sendParts(ctx context.Context, f *os.File, size int64, sum Sum, key, id string) ([]minio.CompletePart, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		whole hash.Hash = sha256.New()
		mu    sync.Mutex
		done  []minio.CompletePart
		wg    sync.WaitGroup
	)
	for at, number := int64(0), 1; at < size && ctx.Err() == nil; at, number = at+partSize, number+1 {
		buf := take(u.big, partSize)
		part := buf[:min(partSize, size-at)]
		if _, err := f.ReadAt(part, at); err != nil && !(errors.Is(err, io.EOF) && at+int64(len(part)) == size) {
			u.big <- buf
			cancel(changedOr(err))
			break
		}
		whole.Write(part)
		wg.Go(func() {
			defer func() { u.big <- buf }()
			got, err := u.sendPart(ctx, part, key, id, number)
			if err != nil {
				cancel(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			done = append(done, minio.CompletePart{PartNumber: number, ETag: got.ETag})
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if Sum(whole.Sum(nil)) != sum {
		return nil, &fileError{errChanged}
	}
	slices.SortFunc(done, func(a, b minio.CompletePart) int { return a.PartNumber - b.PartNumber })
	return done, nil
}

func (u *uploader) sendPart(ctx context.Context, part []byte, key, id string, number int) (got minio.ObjectPart, err error) {
	opts := minio.PutObjectPartOptions{Sha256Hex: Sum(sha256.Sum256(part)).String()}
	err = try(ctx, fmt.Sprintf("upload part %d", number), func() (err error) {
		got, err = u.b.s3.PutObjectPart(ctx, u.b.cfg.Bucket, key, id, number, bytes.NewReader(part), int64(len(part)), opts)
		return err
	})
	return got, err
}
