package workspace

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// generation is one that exists.
type generation struct {
	number int64
	at     time.Time // by the store's clock
}

func (b *Bucket) manifestKey(n int64) string {
	return b.key(manifestsDir + strconv.FormatInt(n, 10) + ".json")
}

// numbered lists the objects <n>.json in one of Berth's directories, by number.
func (b *Bucket) numbered(ctx context.Context, dir string) ([]generation, error) {
	var found []generation
	prefix := b.key(dir)
	err := b.list(ctx, prefix, func(o minio.ObjectInfo) error {
		name := strings.TrimSuffix(strings.TrimPrefix(o.Key, prefix), ".json")
		if n, err := strconv.ParseInt(name, 10, 64); err == nil && n > 0 && prefix+strconv.FormatInt(n, 10)+".json" == o.Key {
			found = append(found, generation{n, o.LastModified})
		}
		return nil
	})
	slices.SortFunc(found, func(a, b generation) int { return int(a.number - b.number) })
	return found, err
}

func (b *Bucket) generations(ctx context.Context) ([]generation, error) {
	return b.numbered(ctx, manifestsDir)
}

// newest returns the number of the newest generation, 0 if there is none.
func (b *Bucket) newest(ctx context.Context) (int64, error) {
	all, err := b.generations(ctx)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[len(all)-1].number, nil
}

// readGeneration reads a manifest; missing is not an error. When an answer
// breaks off it begins again, and calls begin again first.
func (b *Bucket) readGeneration(ctx context.Context, n int64, begin func(Header) error, each func(Entry) error) (h Header, found bool, err error) {
	err = try(ctx, fmt.Sprintf("read generation %d", n), func() error {
		body, _, err := b.open(ctx, b.manifestKey(n), "")
		if isMissing(err) {
			found = false
			return nil
		}
		if err != nil {
			return err
		}
		defer body.Close()
		r := &broken{r: body}
		h, err = readManifest(r, begin, each)
		switch {
		case r.err != nil: // the connection's fault
			return r.err
		case err == nil && h.Generation != n && h.Generation != 0:
			return damaged("The manifest of generation %d says that it is %d.", n, h.Generation)
		case err != nil:
			return asDamaged(n, err)
		}
		found = true
		return nil
	})
	return h, found, err
}

// broken remembers that its reader failed, to tell a manifest that is cut off
// on the way from one that is wrong.
type broken struct {
	r   io.Reader
	err error
}

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}
