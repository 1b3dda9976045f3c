package workspace

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// once is a body that remembers when it was given back.
type once struct {
	*strings.Reader
	back bool // the race detector sees who reads on
	t    *testing.T
}

func (o *once) Read(p []byte) (int, error) {
	if o.back {
		o.t.Error("it is read after the answer was closed")
	}
	return o.Reader.Read(p)
}

// TestBodyIsOursAgainAfterTheAnswer: whether a store answers before it has the
// whole body, or after, and whether the connection breaks.
func TestBodyIsOursAgainAfterTheAnswer(t *testing.T) {
	t.Parallel()
	tr, err := transport(nil)
	if err != nil {
		t.Fatal(err)
	}
	const length = 1 << 20
	text := strings.Repeat("x", length)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/all":
			n, err := io.Copy(io.Discard, r.Body)
			if err != nil || n != length {
				t.Errorf("the store has %d bytes, %v", n, err)
			}
		case "/broken":
			io.CopyN(io.Discard, r.Body, 1)
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(srv.Close)
	for _, path := range []string{"/all", "/early", "/broken"} {
		for range 100 {
			body := &once{Reader: strings.NewReader(text), t: t}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, srv.URL+path, io.NopCloser(body))
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = length
			res, err := tr.RoundTrip(r)
			if err == nil {
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			body.back = true
			if path == "/all" && (err != nil || res.StatusCode != http.StatusServiceUnavailable) {
				t.Fatalf("got %v, %v", res, err)
			}
		}
	}
}
