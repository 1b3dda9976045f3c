package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/internal/ide"
)

// claim says that a workspace is kept below a prefix, so that no other is begun
// above or below it: each would take the other's files for its own.
type claim struct {
	Writer string `json:"writer,omitempty"`
}

// ClaimPrefix writes the claim of this prefix, once, and refuses it as Nested does.
func (b *Bucket) ClaimPrefix(ctx context.Context) error {
	made, err := b.writeClaim(ctx)
	if err != nil {
		return err
	}
	err = b.Nested(ctx)
	if made && errors.Is(err, ErrNested) {
		err = joinPermanent(err, b.remove(ctx, b.key(claimKey)))
	}
	return err
}

// Nested looks for the claim of a prefix above this one: INVALID_S3_BUCKET, and
// permanent. Of two claims the older one counts, so that a workspace goes on if a
// second one is begun above it. A prefix that the credentials do not reach is
// passed over: no workspace that was begun with them is there.
func (b *Bucket) Nested(ctx context.Context) error {
	own, claimed, err := b.stat(ctx, b.key(claimKey))
	if err != nil {
		return err
	}
	for above := range prefixesAbove(b.prefix) {
		other, found, err := b.stat(ctx, above+claimKey)
		switch {
		case ide.IsPermanent(err), err == nil && !found, claimed && other.LastModified.After(own.LastModified):
		case err != nil:
			return err
		default:
			return nested(b.prefix, above)
		}
	}
	return nil
}

// writeClaim writes the claim where there is none, and says whether it did.
func (b *Bucket) writeClaim(ctx context.Context) (made bool, err error) {
	key := b.key(claimKey)
	if _, found, err := b.stat(ctx, key); found || err != nil {
		return false, err
	}
	data, err := json.Marshal(claim{Writer: b.cfg.Writer})
	if err != nil {
		return false, fmt.Errorf("write claim: %w", err)
	}
	err = b.putNew(ctx, key, data)
	if isRefused(err) {
		return false, nil
	}
	return err == nil, err
}

// prefixesAbove yields the prefixes that contain one, the bucket's root first.
func prefixesAbove(prefix string) func(func(string) bool) {
	return func(yield func(string) bool) {
		if prefix == "" || !yield("") {
			return
		}
		for i, c := range prefix[:len(prefix)-1] {
			if c == '/' && !yield(prefix[:i+1]) {
				return
			}
		}
	}
}

func nested(inner, outer string) error {
	if outer == "" {
		outer = "the whole bucket"
	} else {
		outer = fmt.Sprintf("%q", strings.TrimSuffix(outer, "/"))
	}
	return &ide.Error{Code: ide.InvalidS3Bucket, Permanent: true, Err: ErrNested,
		Message: fmt.Sprintf("The folder %q of the bucket lies inside another workspace, %s: each would take the other's files for its own. Nothing was written. Choose a prefix that is neither above nor below that of another workspace.", strings.TrimSuffix(inner, "/"), outer)}
}

// joinPermanent returns the first error; the second is for its log.
func joinPermanent(err, also error) error {
	if e := ide.AsError(err); also != nil {
		return &ide.Error{Code: e.Code, Permanent: e.Permanent, Message: e.Message, Err: fmt.Errorf("%w; and %w", e.Err, also)}
	}
	return err
}

// inner are folders of a workspace that hold another's, with the time of its
// claim; zero if there is none.
type inner map[string]time.Time

// innerOf returns the folder of a plain file's path that holds another workspace.
func innerOf(p string) (folder string, ok bool) {
	if i := strings.Index(p, "/"+reserved+"/"); i > 0 {
		return p[:i], true
	}
	return "", false
}

// note takes up an object of another workspace.
func (in inner) note(p string, at time.Time) bool {
	folder, ok := innerOf(p)
	if !ok {
		return false
	}
	if p == folder+"/"+claimKey {
		in[folder] = at
	} else if _, known := in[folder]; !known {
		in[folder] = time.Time{}
	}
	return true
}

// has says whether a path lies in another workspace.
func (in inner) has(p string) bool {
	for folder := range in {
		if strings.HasPrefix(p, folder+"/") {
			return true
		}
	}
	return false
}
