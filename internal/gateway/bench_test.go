package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"berth/internal/ide"
)

// The two benchmarks differ in what stands between the same client and the
// same container: the gateway, or ReverseProxy as it comes.
//
//	go test -bench Proxy ./internal/gateway

func BenchmarkProxy(b *testing.B) {
	backend := container(b)
	src := newSource()
	for range 1000 {
		src.routes = append(src.routes, running(ide.NewID(), "10.2.0.9"))
	}
	src.routes = append(src.routes, running(idA, "10.1.0.5"))
	g := New(Config{Domain: "localhost", Dial: (&edge{backends: map[string]string{
		"10.1.0.5:3000": backend.Listener.Addr().String(),
	}}).dial})
	g.replace(src.routes)
	g.ready.Store(true)
	load(b, g)
}

func BenchmarkBareProxy(b *testing.B) {
	to, err := url.Parse(container(b).URL)
	if err != nil {
		b.Fatal(err)
	}
	load(b, &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(to)
			pr.SetXForwarded()
			pr.Out.Host = pr.In.Host
		},
		Transport:     &http.Transport{MaxIdleConnsPerHost: idlePerHost},
		FlushInterval: -1,
	})
}

func container(b *testing.B) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello from a container")
	}))
	b.Cleanup(srv.Close)
	return srv
}

func load(b *testing.B, h http.Handler) {
	srv := httptest.NewServer(h)
	b.Cleanup(srv.Close)
	client := &http.Transport{MaxIdleConnsPerHost: 64}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := http.NewRequest("GET", srv.URL, nil)
			if err != nil {
				b.Error(err)
				return
			}
			r.Host = idA + "-web.localhost"
			res, err := client.RoundTrip(r)
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode != 200 {
				b.Errorf("got %d", res.StatusCode)
				return
			}
		}
	})
}
