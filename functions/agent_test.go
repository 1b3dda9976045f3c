package functions

import (
	"errors"
	"net/http"
	"testing"
)

func TestAgentClientFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://agent.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := AgentClient().CheckRedirect(req, nil); !errors.Is(err, http.ErrUseLastResponse) {
		t.Errorf("got %v, want that it stops", err)
	}
}
