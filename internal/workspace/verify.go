package workspace

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/minio/minio-go/v7"
)

// Verified is a generation of which every object was seen.
type Verified struct {
	Generation int64
	Author     string
	At         time.Time // by the author's clock
	Files      int
	Bytes      int64
	Objects    int
}

// Verify reads the manifest of a generation, 0 being the newest, and checks of
// every object that it exists and has the size and the ETag that were noted when
// the store had checked its SHA-256. One with another ETag, such as a second
// upload in other parts, is read and hashed. ErrDamaged says that the generation
// cannot be restored. Where there is no generation at all, all is zero.
func (b *Bucket) Verify(ctx context.Context, number int64) (Verified, error) {
	if number == 0 {
		n, err := b.newest(ctx)
		if err != nil || n == 0 {
			return Verified{}, err
		}
		number = n
	}
	objects := map[Sum]Entry{}
	h, found, err := b.readGeneration(ctx, number, func(Header) error {
		clear(objects)
		return nil
	}, func(e Entry) error {
		if was, ok := objects[e.Sum]; ok && was.Size != e.Size {
			return fmt.Errorf("two sizes of %s", e.Sum)
		}
		if e.Kind == File {
			objects[e.Sum] = Entry{Path: e.Path, Size: e.Size, Sum: e.Sum, ETag: e.ETag}
		}
		return nil
	})
	if err != nil {
		return Verified{}, err
	}
	if !found {
		return Verified{}, damaged("The manifest of generation %d does not exist.", number)
	}
	delete(objects, emptySum) // a restore makes it without the object
	v := Verified{Generation: number, Author: h.Author, At: h.At, Files: h.Files, Bytes: h.Bytes, Objects: len(objects)}
	return v, b.verifyObjects(ctx, objects)
}

// fewObjects is how many are asked for one by one; above, a listing is cheaper.
const fewObjects = 100

func (b *Bucket) verifyObjects(ctx context.Context, objects map[Sum]Entry) error {
	var doubtful []Entry
	if len(objects) > fewObjects {
		prefix := b.key(objectsDir)
		err := b.list(ctx, prefix, func(o minio.ObjectInfo) error {
			var sum Sum
			if sum.UnmarshalText([]byte(o.Key[len(prefix):])) != nil {
				return nil
			}
			if e, ok := objects[sum]; ok && e.Size == o.Size && e.ETag == o.ETag && e.ETag != "" {
				delete(objects, sum)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, e := range objects {
		doubtful = append(doubtful, e)
	}
	slices.SortFunc(doubtful, func(a, b Entry) int { return slices.Compare(a.Sum[:], b.Sum[:]) })
	return parallel(ctx, doubtful, b.verifyObject)
}

func (b *Bucket) verifyObject(ctx context.Context, e Entry) error {
	info, found, err := b.stat(ctx, b.objectKey(e.Sum))
	switch {
	case err != nil:
		return err
	case !found:
		return damaged("The object %s of file %.200q is missing.", e.Sum, e.Path)
	case info.Size != e.Size:
		return damaged("The object %s of file %.200q has %d bytes, not %d.", e.Sum, e.Path, info.Size, e.Size)
	case info.ETag == e.ETag && e.ETag != "":
		return nil
	}
	return try(ctx, "read an object", func() error {
		body, _, err := b.open(ctx, b.objectKey(e.Sum), "")
		if err != nil {
			return err
		}
		defer body.Close()
		h := sha256.New()
		if _, err := io.Copy(h, body); err != nil {
			return err
		}
		if Sum(h.Sum(nil)) != e.Sum {
			return damaged("The object %s of file %.200q is not what its name says.", e.Sum, e.Path)
		}
		return nil
	})
}
