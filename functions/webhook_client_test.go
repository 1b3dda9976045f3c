package functions

import (
	"context"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

func TestWebhookURLs(t *testing.T) {
	t.Parallel()
	allow := []netip.Prefix{netip.MustParsePrefix("10.7.0.0/16"), netip.MustParsePrefix("fd00:7::/32")}
	for _, good := range []string{
		"https://hooks.example.org", "http://hooks.example.org:8080/a/b?token=x%20y", "https://93.184.216.34/x", "https://[2606:2800:220:1::1]:8443/",
		"https://10.7.1.2/", "http://[fd00:7::1]/", "https://a_b.example.org./", "https://xn--bcher-kva.example/",
	} {
		if why := badWebhookURL(good, allow); why != "" {
			t.Errorf("%s: %s", good, why)
		}
	}
	for bad, word := range map[string]string{
		"": "absolute", "hooks.example.org": "absolute", "//hooks.example.org": "absolute", "ftp://hooks.example.org": "absolute", "https:hooks": "absolute", "https:///x": "absolute",
		"https://user@hooks.example.org": "user name", "https://:pw@hooks.example.org": "user name", "https://hooks.example.org/#": "fragment", "https://hooks.example.org/#a": "fragment",
		"https://hooks.example.org:0": "port", "https://hooks.example.org:": "port", "https://hooks.example.org:65536": "port", "https://hooks.example.org:http": "absolute",
		"https://bücher.example": "ASCII", "https://a b": "ASCII", "https://a\r\nHost: b/": "ASCII", "https://" + strings.Repeat("a", 2048): "2048",
		"https://a..b/": "host name", "https://-a/": "host name",
		"http://127.0.0.1": "not public", "http://10.8.0.1": "not public", "http://192.168.1.1": "not public", "http://172.16.0.1": "not public", "http://169.254.169.254/latest/meta-data": "not public",
		"http://0.0.0.0": "not public", "http://[::1]": "not public", "http://[::ffff:127.0.0.1]": "not public", "http://[fe80::1]": "not public", "http://[fe80::1%25eth0]": "not public",
		"http://[fd00:8::1]": "not public", "http://[64:ff9b::7f00:1]": "not public", "http://100.64.0.1": "not public", "http://224.0.0.1": "not public",
	} {
		if why := badWebhookURL(bad, allow); !strings.Contains(why, word) {
			t.Errorf("%q: got %q, want %q in it", bad, why, word)
		}
	}
}

func FuzzWebhookURL(f *testing.F) {
	for _, seed := range []string{
		"https://hooks.example.org/a?b=c", "http://user:pw@host/", "https://[::1]:80/#x", "http://2130706433/", "http://0x7f.1/", "http://127.0.0.1:80@evil.test/",
		"https://[::ffff:169.254.169.254]/", "http://a:99999/", "http://%31%32%37.0.0.1/", "HTTP://Example.ORG:443", "https://host\\@127.0.0.1/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if badWebhookURL(raw, nil) != "" {
			return
		}
		req, err := http.NewRequest(http.MethodPost, raw, nil)
		if err != nil {
			t.Fatalf("%q is taken and cannot be asked: %v", raw, err)
		}
		u, _ := url.Parse(raw)
		if u.User != nil || u.Fragment != "" || req.URL.Host == "" || strings.ContainsAny(req.Host, "\r\n @/\\") {
			t.Errorf("%q is taken", raw)
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
			if a := addr.Unmap(); a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast() {
				t.Errorf("%q is taken, and leads inside", raw)
			}
		}
	})
}

// rebinding is a resolver that says a public address to whoever asks first and
// a loopback one from then on.
func rebinding(t *testing.T) (*net.Resolver, *atomic.Int32) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := &atomic.Int32{}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(dnsAnswer(buf[:n], asked), from)
		}
	}()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}
	return &net.Resolver{PreferGo: true, Dial: dial}, asked
}

// dnsAnswer answers a query (RFC 1035, section 4) for an A record; others get
// none.
func dnsAnswer(query []byte, asked *atomic.Int32) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	question := query[12 : end+5]
	answer := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
	if binary.BigEndian.Uint16(query[end+1:]) != 1 {
		return answer
	}
	answer[7] = 1
	addr := []byte{127, 0, 0, 1}
	if asked.Add(1) == 1 {
		addr = []byte{93, 184, 216, 34}
	}
	answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
	return append(answer, addr...)
}

func TestAddressIsCheckedWhenDialled(t *testing.T) {
	t.Parallel()
	hit := false
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hit = true }))
	t.Cleanup(srv.Close)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	target := "http://rebind.test:" + port + "/"
	resolver, asked := rebinding(t)
	if first, err := resolver.LookupHost(t.Context(), "rebind.test"); err != nil || first[0] != "93.184.216.34" {
		t.Fatalf("got %v, %v", first, err)
	}
	if why := badWebhookURL(target, nil); why != "" {
		t.Fatal(why)
	}
	_, err := webhookClient(nil, resolver).Post(target, "", nil)
	if err == nil || hit || !strings.Contains(unreachable(err), "WEBHOOK_ALLOW") {
		t.Errorf("got %v, the server was reached: %t", err, hit)
	}
	if asked.Load() < 2 {
		t.Error("the name was not resolved again")
	}
	res, err := webhookClient(loopback, resolver).Post(target, "", nil)
	if err != nil || !hit {
		t.Fatalf("where it is allowed: %v", err)
	}
	res.Body.Close()
}

func TestNoProxyStandsBetween(t *testing.T) {
	t.Parallel()
	if tr := WebhookClient(nil).Transport.(*http.Transport); tr.Proxy != nil {
		t.Error("a proxy would dial in our place, where nothing is checked")
	}
}

func TestWhyThereIsNoAnswer(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(nil)
	closed.Close()
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	t.Cleanup(tls.Close)
	client := WebhookClient(loopback)
	for target, want := range map[string]string{closed.URL: "refused", tls.URL: "certificate"} {
		res, err := client.Post(target, "", nil)
		if err == nil {
			res.Body.Close()
			t.Errorf("%s answers", target)
		} else if got := unreachable(err); !strings.Contains(got, want) {
			t.Errorf("%s: got %q for %v", target, got, err)
		}
	}
}
