package s3

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/workspace"
)

// Reach asks the store for anything, without credentials, and returns its
// clock; zero if it does not say. Only what is no S3 is an error: a refusal is
// the answer of a store.
func (c *Client) Reach(ctx context.Context) (time.Time, error) {
	endpoint := c.cfg.Endpoint
	if endpoint == "" {
		endpoint = "https://s3.amazonaws.com"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return time.Time{}, ide.Errorf(workspace.Unavailable, "S3: %s is no URL of a store.", endpoint)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return time.Time{}, ide.Transient(workspace.Unavailable, err, "S3: the store at %s cannot be reached (%s).", endpoint, reason(err))
	}
	defer res.Body.Close()
	head, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return time.Time{}, ide.Transient(workspace.Unavailable, err, "S3: the store at %s cannot be read.", endpoint)
	}
	at, _ := http.ParseTime(res.Header.Get("Date")) // zero where it is none
	for name := range res.Header {
		if strings.HasPrefix(strings.ToLower(name), "x-amz-") {
			return at, nil
		}
	}
	if strings.Contains(string(head), "<Code>") || strings.Contains(string(head), "ListAllMyBucketsResult") {
		return at, nil
	}
	return at, ide.Errorf(workspace.Unavailable, "S3: what answers at %s is no S3 store (%s).", endpoint, res.Status)
}

// reason is the innermost of an error: a certificate, a refused connection, a
// name without an address.
func reason(err error) string {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || inner.Unwrap() == nil {
			return err.Error()
		}
		err = inner.Unwrap()
	}
}
