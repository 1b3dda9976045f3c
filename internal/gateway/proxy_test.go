package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/internal/ide"
)

func TestEachNameLeadsToItsPort(t *testing.T) {
	t.Parallel()
	e := newEdge(t, newSource(running(idA, "10.1.0.5"), running(idB, "fd00::7")), nil)
	for _, addr := range []string{"10.1.0.5:6080", "10.1.0.5:8080", "10.1.0.5:3000", "[fd00::7]:3000"} {
		e.backend(t, addr, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, addr) })
	}
	for host, want := range map[string]string{
		idA + "-vnc.localhost:8080": "10.1.0.5:6080",
		idA + "-code.localhost":     "10.1.0.5:8080",
		idA + "-web.localhost.":     "10.1.0.5:3000",
		idB + "-web.localhost":      "[fd00::7]:3000",
	} {
		if _, body := e.get(t, host, "/"); body != want {
			t.Errorf("%s: got %q, want %q", host, body, want)
		}
	}
}

func TestRequestReachesTheContainerAsSent(t *testing.T) {
	t.Parallel()
	e := newEdge(t, newSource(running(idA, "10.1.0.5")), nil)
	var got *http.Request
	e.backend(t, "10.1.0.5:8080", func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(r.Context())
		w.Header().Set("X-From", "container")
		w.WriteHeader(http.StatusTeapot)
	})
	res, _ := e.get(t, idA+"-code.localhost:8080", "/a%2Fb//c?x=1;y=2&z=%zz",
		ide.ProbeHeader, "1", "Connection", "X-Hop", "X-Hop", "1", "X-Keep", "1")
	if res.StatusCode != http.StatusTeapot || res.Header.Get("X-From") != "container" {
		t.Errorf("answer: got %d %v, want the container's own", res.StatusCode, res.Header)
	}
	want := map[string]string{
		"host": idA + "-code.localhost:8080", "uri": "/a%2Fb//c?x=1;y=2&z=%zz", "probe": "", "hop": "", "keep": "1",
	}
	if diff := cmp.Diff(want, map[string]string{
		"host": got.Host, "uri": got.RequestURI, "probe": got.Header.Get(ide.ProbeHeader),
		"hop": got.Header.Get("X-Hop"), "keep": got.Header.Get("X-Keep"),
	}); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestForwardedHeaders(t *testing.T) {
	t.Parallel()
	sent := []string{
		"X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "front.example",
		"X-Forwarded-Port", "443", "X-Real-Ip", "203.0.113.9", "Forwarded", "for=203.0.113.9",
	}
	host := idA + "-web.localhost:8080"
	for name, c := range map[string]struct {
		trusted []netip.Prefix
		sent    []string
		want    []string // For, Proto, Host, Port, Real-Ip
	}{
		"from a stranger, replaced":     {nil, sent, []string{"127.0.0.1", "http", host, "", ""}},
		"another network's proxy":       {[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, sent, []string{"127.0.0.1", "http", host, "", ""}},
		"from a trusted proxy, kept":    {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, sent, []string{"203.0.113.9, 127.0.0.1", "https", "front.example", "443", "203.0.113.9"}},
		"trusted proxy says nothing":    {[]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, nil, []string{"127.0.0.1", "http", host, "", ""}},
		"nothing sent, nothing trusted": {nil, nil, []string{"127.0.0.1", "http", host, "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t, newSource(running(idA, "10.1.0.5")), func(c2 *Config) { c2.TrustedProxies = c.trusted })
			var got []string
			e.backend(t, "10.1.0.5:3000", func(w http.ResponseWriter, r *http.Request) {
				for _, h := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-Ip"} {
					got = append(got, strings.Join(r.Header[h], "|"))
				}
				if r.Header.Get("Forwarded") != "" {
					t.Error("Forwarded was passed on")
				}
			})
			e.get(t, host, "/", c.sent...)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("For, Proto, Host, Port, Real-Ip (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOnlyProbesPassToAStartingContainer(t *testing.T) {
	t.Parallel()
	starting := func(probe, address string) ide.Route {
		return ide.Route{ID: idA, Status: ide.Starting, Address: address, Probe: probe}
	}
	for name, c := range map[string]struct {
		route  ide.Route
		header []string
		want   int
	}{
		"without the header":     {starting("sesame", "10.1.0.5"), nil, 503},
		"with another value":     {starting("sesame", "10.1.0.5"), []string{ide.ProbeHeader, "sesam"}, 503},
		"with the value":         {starting("sesame", "10.1.0.5"), []string{ide.ProbeHeader, "sesame"}, 200},
		"empty probe, empty try": {starting("", "10.1.0.5"), []string{ide.ProbeHeader, ""}, 503},
		"no address yet":         {starting("sesame", ""), []string{ide.ProbeHeader, "sesame"}, 503},
		"address is not an IP":   {starting("sesame", "example.com"), []string{ide.ProbeHeader, "sesame"}, 503},
		"probe once stopped":     {ide.Route{ID: idA, Status: ide.Stopped, Address: "10.1.0.5", Probe: "sesame"}, []string{ide.ProbeHeader, "sesame"}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t, newSource(c.route), nil)
			e.backend(t, "10.1.0.5:8080", func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Values(ide.ProbeHeader); !slices.Equal(got, []string{"sesame"}) {
					t.Errorf("the agent was told %q, want the value that it knows", got)
				}
			})
			if res, _ := e.get(t, idA+"-code.localhost", "/", c.header...); res.StatusCode != c.want {
				t.Errorf("got %d, want %d", res.StatusCode, c.want)
			}
			if n := e.lookup(idA).seen.requests.Load(); n != 0 {
				t.Errorf("%d requests counted, want none", n)
			}
		})
	}
}

func TestOwnAnswers(t *testing.T) {
	t.Parallel()
	browser := "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for name, c := range map[string]struct {
		route  ide.Route
		host   string
		status int
		code   ide.Code
		retry  string
		reload string
	}{
		"unknown container": {running(idB, ""), idA + "-code.localhost", 404, ide.ContainerNotFound, "", ""},
		"unknown suffix":    {running(idA, ""), idA + "-ssh.localhost", 404, ide.ContainerNotFound, "", ""},
		"not our form":      {running(idA, ""), "foo-code.localhost:8080", 404, ide.ContainerNotFound, "", ""},
		"starting":          {ide.Route{ID: idA, Status: ide.Starting}, idA + "-code.localhost", 503, NotRunning, "2", "2"},
		"stopping":          {ide.Route{ID: idA, Status: ide.Stopping, Address: "10.1.0.5"}, idA + "-code.localhost", 503, NotRunning, "30", ""},
		"stopped":           {ide.Route{ID: idA, Status: ide.Stopped}, idA + "-code.localhost", 503, NotRunning, "30", ""},
		"failed":            {ide.Route{ID: idA, Status: ide.Failed}, idA + "-code.localhost", 503, NotRunning, "30", ""},
		"does not answer":   {running(idA, "10.1.0.5"), idA + "-code.localhost", 502, Unreachable, "2", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t, newSource(c.route), nil)
			res, body := e.get(t, c.host, "/p?q", "Accept", browser)
			h := res.Header
			if res.StatusCode != c.status || h.Get("Retry-After") != c.retry || h.Get("Refresh") != c.reload {
				t.Errorf("got %d, Retry-After %q, Refresh %q; want %d %q %q",
					res.StatusCode, h.Get("Retry-After"), h.Get("Refresh"), c.status, c.retry, c.reload)
			}
			if !strings.HasPrefix(body, "<!doctype html>") || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
				t.Errorf("not a page under a strict policy: %v\n%s", h, body)
			}
			if strings.Contains(body, "ZgotmplZ") || strings.Contains(body, "://") {
				t.Errorf("the page is broken or loads from elsewhere:\n%s", body)
			}
			if res.Header.Get(ide.NoServerHeader) != "" {
				t.Error("says that no server is there, which only the agent knows")
			}

			res, body = e.get(t, c.host, "/p?q", "Accept", "application/json")
			var got struct {
				Error           struct{ Code, Message string }
				Timestamp, Path string
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("%v in %s", err, body)
			}
			if res.StatusCode != c.status || got.Error.Code != string(c.code) || got.Error.Message == "" || got.Timestamp == "" || got.Path != "/p" {
				t.Errorf("got %d %+v, want %d %s", res.StatusCode, got, c.status, c.code)
			}
			if r := res.Header.Get("Refresh"); r != "" {
				t.Errorf("JSON with Refresh %q", r)
			}
		})
	}
}

func TestNoAnswerKeepsTheAgentsHeader(t *testing.T) {
	t.Parallel()
	e := newEdge(t, newSource(running(idA, "10.1.0.5")), nil)
	e.backend(t, "10.1.0.5:3000", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(ide.NoServerHeader, "1")
		w.WriteHeader(http.StatusBadGateway)
	})
	if res, _ := e.get(t, idA+"-web.localhost", "/"); res.StatusCode != 502 || res.Header.Get(ide.NoServerHeader) != "1" {
		t.Errorf("got %d %v, want the agent's 502 with its header", res.StatusCode, res.Header)
	}
}

func TestConnectIsRefused(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	New(Config{Domain: "localhost"}).ServeHTTP(w, httptest.NewRequest("CONNECT", "http://"+idA+"-web.localhost:443", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("got %d, want 405", w.Code)
	}
}

// TestStreamsFlush: the container waits, after its first line, for the client
// to have read it.
func TestStreamsFlush(t *testing.T) {
	t.Parallel()
	e := newEdge(t, newSource(running(idA, "10.1.0.5")), nil)
	read := make(chan struct{})
	e.backend(t, "10.1.0.5:3000", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		io.WriteString(w, "one\n")
		http.NewResponseController(w).Flush()
		<-read
		io.WriteString(w, "two\n")
	})
	r, _ := http.NewRequest("GET", e.url, nil)
	r.Host = idA + "-web.localhost"
	res, err := visitor.Transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	line := make([]byte, 4)
	if _, err := io.ReadFull(res.Body, line); err != nil || string(line) != "one\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if n := e.lookup(idA).seen.open.Load(); n != 1 {
		t.Errorf("%d connections open, want 1", n)
	}
	close(read)
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "two\n" {
		t.Errorf("got %q, %v", rest, err)
	}
}

func TestPrefersJSON(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{
		"":                                  false,
		"*/*":                               false,
		"text/html":                         false,
		"application/json":                  true,
		"application/json, text/plain, */*": true,
		"APPLICATION/JSON":                  true,
		"application/*":                     true,
		"text/html, application/json;q=0.9": false,
		"text/html;q=0.5, application/json": true,
		"application/json;q=0":              false,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": false,
	} {
		if got := prefersJSON([]string{accept}); got != want {
			t.Errorf("%q: got %v, want %v", accept, got, want)
		}
	}
}
