package workspace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"time"

	"github.com/minio/minio-go/v7"

	"berth/internal/ide"
)

// Check tries what saving and restoring will do, below .berth/check: list,
// write, write on a condition, read, delete. The error says in plain words what
// S3 refused.
func (b *Bucket) Check(ctx context.Context) error {
	prefix := b.key(checkDir)
	key := prefix + newAuthor()
	err := try(ctx, "list the bucket", func() error {
		return b.listOnce(ctx, minio.ListObjectsOptions{Prefix: prefix, MaxKeys: 1}, func(minio.ObjectInfo) error { return nil })
	})
	if err != nil {
		return err
	}
	text := []byte("Berth looks whether it can save here.\n")
	if _, err := b.put(ctx, key, text); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		b.remove(ctx, key)
	}()
	if _, found, err := b.get(ctx, key, 1<<10); err != nil || !found {
		if err == nil {
			err = &ide.Error{Code: Unavailable, Message: "S3: what was just written is not there."}
		}
		return err
	}
	if !b.cfg.SingleWriter {
		if err := b.checkConditional(ctx, key, text); err != nil {
			return err
		}
	}
	if err := b.remove(ctx, key); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.checked = true
	return nil
}

// checkConditional writes where something is: the store must refuse.
func (b *Bucket) checkConditional(ctx context.Context, key string, text []byte) error {
	opts := b.putOptions()
	opts.SetMatchETagExcept("*")
	refused := false
	err := try(ctx, "write an object on a condition", func() error {
		_, err := b.s3.PutObject(ctx, b.cfg.Bucket, key, bytes.NewReader(text), int64(len(text)), "", Sum(sha256.Sum256(text)).String(), opts)
		if isRefused(err) {
			refused = true
			return nil
		}
		return err
	})
	switch {
	case refused:
		return nil
	case err == nil, isNotImplemented(err):
		return &ide.Error{Code: ide.InvalidS3Bucket, Permanent: true, Err: ErrNoConditionalWrite,
			Message: "S3: the store has no conditional writes (If-None-Match), so two containers could overwrite each other's saves. The operator can allow it with S3_SINGLE_WRITER."}
	}
	return err
}

func (b *Bucket) checkOnce(ctx context.Context) error {
	b.mu.Lock()
	done := b.checked
	b.mu.Unlock()
	if done {
		return nil
	}
	return b.Check(ctx)
}
