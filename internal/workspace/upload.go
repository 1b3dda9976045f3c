package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
)

const (
	smallFile   = 128 << 10 // read once, into a buffer; longer ones are read again as they are sent
	partSize    = 8 << 20   // S3 allows 5 MiB and more
	maxParts    = 10_000    // the most that S3 allows in an object
	partsAtOnce = 4         // of all files
	readAgain   = 3         // how often a file that changes is read before it is copied
)

// uploader brings file contents into the bucket, each once.
type uploader struct {
	b     *Bucket
	local *local
	bufs  chan []byte
	slots chan struct{} // for parts
	open  bool          // files that are closed to their owner are read, too
	alone sync.Mutex    // held while such a file is read

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
	u := &uploader{
		b: b, local: l, bufs: make(chan []byte, workers), slots: make(chan struct{}, partsAtOnce),
		have: map[Sum]sentObject{}, doing: map[Sum]chan struct{}{},
	}
	for range workers {
		u.bufs <- nil
	}
	return u
}

// buffer waits for a buffer, which is made when first used.
func (u *uploader) buffer() []byte {
	if b := <-u.bufs; b != nil {
		return b
	}
	return make([]byte, smallFile)
}

// storeFile reads a file until it holds still, uploads what the bucket has
// not, and enters it. Only the store's errors end a save; a file's are reported.
func (w *Workspace) storeFile(ctx context.Context, p string, t *tree) error {
	u := w.uploads
	if u.open {
		// Opening it changes the times of the file, which may have another name.
		if info, err := u.local.root.Lstat(p); err == nil && info.Mode()&0o400 == 0 {
			u.alone.Lock()
			defer u.alone.Unlock()
		}
	}
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
		t.vanished.Add(1)
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

// parts uploads a long file, and completes it when every part has proved to be
// what was hashed.
func (u *uploader) parts(ctx context.Context, parts []*checked, size int64, sum Sum) (etag string, err error) {
	b, key := u.b, u.b.objectKey(sum)
	var id string
	err = try(ctx, "begin an upload", func() (err error) {
		id, err = b.s3.NewMultipartUpload(ctx, b.cfg.Bucket, key, b.putOptions())
		return err
	})
	if err != nil {
		return "", err
	}
	done, err := u.sendParts(ctx, parts, key, id)
	if err == nil {
		err = try(ctx, "complete an upload", func() error {
			info, err := b.s3.CompleteMultipartUpload(ctx, b.cfg.Bucket, key, id, done, b.putOptions())
			etag = info.ETag
			if isMissing(err) { // it may be the second try of what has succeeded
				if there, found, _ := b.stat(ctx, key); found && there.Size == size {
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

func (u *uploader) sendParts(ctx context.Context, parts []*checked, key, id string) ([]minio.CompletePart, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make([]minio.CompletePart, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		u.slots <- struct{}{}
		if ctx.Err() != nil {
			<-u.slots
			break
		}
		wg.Go(func() {
			defer func() { <-u.slots }()
			etag, err := u.sendPart(ctx, p, key, id, i+1)
			if err != nil {
				cancel(err)
			}
			done[i] = minio.CompletePart{PartNumber: i + 1, ETag: etag}
		})
	}
	wg.Wait()
	return done, context.Cause(ctx)
}

func (u *uploader) sendPart(ctx context.Context, p *checked, key, id string, number int) (etag string, err error) {
	err = try(ctx, fmt.Sprintf("upload part %d", number), func() error {
		got, err := u.b.s3.PutObjectPart(ctx, u.b.cfg.Bucket, key, id, number, p, p.Size(), minio.PutObjectPartOptions{Sha256Hex: p.sum.String(), DisableContentSha256: true})
		etag = got.ETag
		return p.blame(err)
	})
	return etag, err
}
