package workspace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
)

// Sum is the SHA-256 of a file's content, and the name of its object.
type Sum [sha256.Size]byte

func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText writes a sum as 64 hexadecimal digits.
func (s Sum) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText reads 64 lower-case hexadecimal digits.
func (s *Sum) UnmarshalText(b []byte) error {
	if len(b) != 2*len(s) || strings.ToLower(string(b)) != string(b) {
		return fmt.Errorf("not a SHA-256: %.70q", b)
	}
	_, err := hex.Decode(s[:], b)
	return err
}

// emptySum is the sum of no bytes.
var emptySum = Sum(sha256.Sum256(nil))

// put writes a small object of Berth's own. The store checks the SHA-256 of
// what arrives, which is part of the signature.
func (b *Bucket) put(ctx context.Context, key string, data []byte) (etag string, err error) {
	return b.putSum(ctx, key, bytes.NewReader(data), int64(len(data)), sha256.Sum256(data), b.putOptions())
}

// putNew writes a small object of Berth's own where there is none; else the error
// is one that isRefused. A store without conditional writes is asked before.
func (b *Bucket) putNew(ctx context.Context, key string, data []byte) error {
	opts := b.putOptions()
	if b.cfg.SingleWriter {
		if _, found, err := b.stat(ctx, key); found || err != nil {
			return errors.Join(err, errRefused)
		}
	} else {
		opts.SetMatchETagExcept("*")
	}
	sum := Sum(sha256.Sum256(data))
	var refused error
	err := try(ctx, "write an object", func() error {
		_, err := b.s3.PutObject(ctx, b.cfg.Bucket, key, bytes.NewReader(data), int64(len(data)), "", sum.String(), opts)
		if isRefused(err) {
			refused = errRefused
			return nil
		}
		return err
	})
	return errors.Join(err, refused)
}

func (b *Bucket) putSum(ctx context.Context, key string, data io.ReadSeeker, size int64, sum Sum, opts minio.PutObjectOptions) (etag string, err error) {
	err = try(ctx, "write an object", func() error {
		info, err := b.s3.PutObject(ctx, b.cfg.Bucket, key, data, size, "", sum.String(), opts)
		etag = info.ETag
		return err
	})
	return etag, err
}

// open begins to read an object.
func (b *Bucket) open(ctx context.Context, key, etag string) (io.ReadCloser, minio.ObjectInfo, error) {
	var opts minio.GetObjectOptions
	if etag != "" {
		if err := opts.SetMatchETag(etag); err != nil {
			return nil, minio.ObjectInfo{}, err
		}
	}
	body, info, _, err := b.s3.GetObject(ctx, b.cfg.Bucket, key, opts)
	return body, info, err
}

// get reads a small object whole; missing is not an error.
func (b *Bucket) get(ctx context.Context, key string, limit int64) (data []byte, found bool, err error) {
	err = try(ctx, "read an object", func() error {
		body, info, err := b.open(ctx, key, "")
		if isMissing(err) {
			data, found = nil, false
			return nil
		}
		if err != nil {
			return err
		}
		defer body.Close()
		if data, err = io.ReadAll(io.LimitReader(body, limit+1)); err != nil {
			return err
		}
		if int64(len(data)) > limit {
			return damaged("%s is longer than %d bytes.", key, limit)
		}
		if int64(len(data)) != info.Size {
			return io.ErrUnexpectedEOF
		}
		found = true
		return nil
	})
	return data, found, err
}

// stat returns an object's size, ETag and time; missing is not an error.
func (b *Bucket) stat(ctx context.Context, key string) (info minio.ObjectInfo, found bool, err error) {
	err = try(ctx, "look at an object", func() error {
		got, err := b.s3.StatObject(ctx, b.cfg.Bucket, key, minio.StatObjectOptions{})
		if isMissing(err) {
			found = false
			return nil
		}
		info, found = got, err == nil
		return err
	})
	return info, found, err
}

func (b *Bucket) remove(ctx context.Context, key string) error {
	return try(ctx, "delete an object", func() error {
		err := b.s3.RemoveObject(ctx, b.cfg.Bucket, key, minio.RemoveObjectOptions{})
		if isMissing(err) {
			return nil
		}
		return err
	})
}

// list calls each for the objects below a prefix in order; a listing that
// breaks off goes on behind the last key that was seen.
func (b *Bucket) list(ctx context.Context, prefix string, each func(minio.ObjectInfo) error) error {
	last := ""
	return try(ctx, "list objects", func() error {
		return b.listOnce(ctx, minio.ListObjectsOptions{Prefix: prefix, Recursive: true, StartAfter: last}, func(o minio.ObjectInfo) error {
			last = o.Key
			return each(o)
		})
	})
}

// listFolder returns what lies directly below a prefix: objects, and one entry
// whose key ends in a slash for all that lies deeper.
func (b *Bucket) listFolder(ctx context.Context, prefix string) (found []minio.ObjectInfo, err error) {
	err = try(ctx, "list objects", func() error {
		found = nil
		return b.listOnce(ctx, minio.ListObjectsOptions{Prefix: prefix}, func(o minio.ObjectInfo) error {
			found = append(found, o)
			return nil
		})
	})
	return found, err
}

func (b *Bucket) listOnce(ctx context.Context, opts minio.ListObjectsOptions, each func(minio.ObjectInfo) error) error {
	ctx, cancel := context.WithCancel(ctx) // ends the client's own listing
	defer cancel()
	opts.FetchOwner = new(bool)
	for o := range b.s3.ListObjectsIter(ctx, b.cfg.Bucket, opts) {
		if o.Err != nil {
			return o.Err
		}
		if err := each(o); err != nil {
			return err
		}
	}
	return nil
}

// workers is how many requests, reads and writes go on at a time.
const workers = 12

// parallel calls f for each item, workers at a time, and returns the first
// error, after which no further call is begun.
func parallel[T any](ctx context.Context, items []T, f func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan T)
	var wg sync.WaitGroup
	for range min(workers, len(items)) {
		wg.Go(func() {
			for item := range next {
				if err := f(ctx, item); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, item := range items {
		select {
		case next <- item:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}
