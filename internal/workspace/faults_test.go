package workspace

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// faulty is a network and a store that misbehave, by chance.
type faulty struct {
	server
	rate  atomic.Int64  // faults in a thousand requests
	seen  atomic.Int64  // requests
	shut  atomic.Int64  // requests still to be refused with 403
	every func(n int64) // if not nil, called at each request

	mu     sync.Mutex
	rng    *rand.Rand
	counts map[string]int
}

func (s server) faulty(t testing.TB, seed uint64, every func(n int64)) *faulty {
	f := &faulty{every: every, rng: rand.New(rand.NewPCG(seed, 1)), counts: map[string]int{}}
	f.server = s.between(t, f.serve)
	return f
}

// kinds of faults.
var kinds = []string{"503", "500 with half a body", "reset", "answer lost", "slow", "cut off answer", "cut off request", "403 for a while", "clock skew"}

func (f *faulty) draw() (kind string, part float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rng.Int64N(1000) >= f.rate.Load() {
		return "", 0
	}
	kind = kinds[f.rng.IntN(len(kinds))]
	if kind == "403 for a while" && f.rng.IntN(4) > 0 {
		kind = "503" // a 403 ends a whole save
	}
	f.counts[kind]++
	return kind, f.rng.Float64()
}

// calm ends all faults.
func (f *faulty) calm() {
	f.rate.Store(0)
	f.shut.Store(0)
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>by the test</Message></Error>", code)
}

func (f *faulty) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	n := f.seen.Add(1)
	if f.every != nil {
		f.every(n)
	}
	if f.shut.Add(-1) >= 0 {
		refuse(w, http.StatusForbidden, "AccessDenied")
		return
	}
	kind, part := f.draw()
	if kind == "cut off answer" && r.Method == http.MethodHead {
		kind = "reset" // there is no body to cut off
	}
	switch kind {
	case "":
		next.ServeHTTP(w, r)
	case "503":
		refuse(w, http.StatusServiceUnavailable, "SlowDown")
	case "500 with half a body":
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, "<Error><Code>Intern")
		panic(http.ErrAbortHandler)
	case "reset":
		panic(http.ErrAbortHandler)
	case "answer lost":
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case "slow":
		pause(r.Context(), time.Duration(part*50)*time.Millisecond)
		next.ServeHTTP(w, r)
	case "cut off answer":
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		body := rec.Body.Bytes()
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(rec.Code)
		w.Write(body[:int(part*float64(len(body)))])
		if len(body) > 0 {
			panic(http.ErrAbortHandler)
		}
	case "cut off request":
		data, err := io.ReadAll(r.Body)
		if err != nil || len(data) == 0 {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(data[:int(part*float64(len(data)))]), failing{}))
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case "403 for a while":
		f.shut.Store(1 + int64(part*20))
		refuse(w, http.StatusForbidden, "AccessDenied")
	case "clock skew":
		refuse(w, http.StatusForbidden, "RequestTimeTooSkewed")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
