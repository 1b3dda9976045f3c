package store

import (
	"context"
	"errors"
	"testing"

	"berth/internal/redistest"
)

// A process that is to end does not wait for an event that may not come.
func TestChangesEndWithTheirContext(t *testing.T) {
	t.Parallel()
	s := New(redistest.New(t), Config{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, _, err := s.Changes(ctx, "0-0")
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context has ended", err)
	}
}
