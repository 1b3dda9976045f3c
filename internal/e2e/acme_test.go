package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
)

// dnsToken is what the DNS provider of the test wants to see.
const dnsToken = "dns-token-dns-token"

// authority is an ACME server (Let's Encrypt's own for tests, pebble) with the
// DNS that it asks, which both run beside the test.
type authority struct {
	directory string // URL
	resolver  string // host:port
	records   string // URL of a DNS provider that takes dnsToken
	ca        []byte // PEM, of the directory's own certificate
}

// program starts a program of the module proxy's, which ends with the test.
func (s *stack) program(name string, env []string, args ...string) {
	s.t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if ci := os.Getenv("CI"); ci != "" && ci != "false" {
			s.t.Fatal(err)
		}
		s.t.Skipf("%s is not in PATH: make test-stack builds it", name)
	}
	log := &lockedBuffer{}
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if s.t.Failed() {
			s.t.Logf("%s:\n%s", name, tail(log.String()))
		}
	})
}

func (s *stack) startAuthority() authority {
	s.t.Helper()
	here := s.lab.ClientAddr
	at := func(port string) string { return net.JoinHostPort(here, port) }
	ca, certificate, key, _ := makeCertificate(s.t, nil, net.ParseIP(here))
	for name, text := range map[string]string{"cert.pem": certificate, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": at("14000"), "managementListenAddress": at("15000"), "certificate": filepath.Join(s.dir, "cert.pem"),
		"privateKey": filepath.Join(s.dir, "key.pem"), "httpPort": 8880, "tlsPort": 8443,
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "pebble.json"), config, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.program("pebble-challtestsrv", nil, "-defaultIPv4", s.lab.Nodes[0].Addr, "-defaultIPv6", "", "-dnsserver", at("8053"),
		"-management", "127.0.0.1:8055", "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
	s.program("pebble", []string{"PEBBLE_VA_NOSLEEP=1"}, "-config", filepath.Join(s.dir, "pebble.json"), "-dnsserver", at("8053"))

	pool := poolOf(ca)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	var root []byte
	s.eventually("the authority answers", patience, func() error {
		res, err := client.Get("https://" + at("15000") + "/roots/0")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		root, err = io.ReadAll(res.Body)
		return err
	})
	client.CloseIdleConnections()
	if !s.ca.AppendCertsFromPEM(root) {
		s.t.Fatalf("its root is %q", root)
	}
	return authority{directory: "https://" + at("14000") + "/dir", resolver: at("8053"), records: s.provider(), ca: ca}
}

// provider is a DNS provider that its customers ask by HTTP, in the form of
// lego's httpreq.
func (s *stack) provider() (url string) {
	s.t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(s.lab.ClientAddr, "0"))
	if err != nil {
		s.t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var record struct{ FQDN, Value string }
		_, token, _ := r.BasicAuth()
		if err := json.NewDecoder(r.Body).Decode(&record); err != nil || token != dnsToken {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		call, body := "clear-txt", map[string]string{"host": record.FQDN}
		if r.URL.Path == "/present" {
			call, body = "set-txt", map[string]string{"host": record.FQDN, "value": record.Value}
		}
		text, _ := json.Marshal(body)
		res, err := http.Post("http://127.0.0.1:8055/"+call, "application/json", strings.NewReader(string(text)))
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		res.Body.Close()
		w.WriteHeader(res.StatusCode)
	})}
	go srv.Serve(l)
	s.t.Cleanup(func() { srv.Close() })
	return "http://" + l.Addr().String()
}

// certificate returns the names that the certificate of a host is for. It fails
// until it is one of the authority's.
func (s *stack) certificate(host string) ([]string, error) {
	conn, err := tls.Dial("tcp", s.https, &tls.Config{RootCAs: s.ca, ServerName: host})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].DNSNames, nil
}

// TestCertificatesByACME deploys the stack with each of the two files that get
// certificates from an authority.
func TestCertificatesByACME(t *testing.T) {
	settings := []string{"S3_ENDPOINT=none", "CPU_RESERVATION=0.05", "MEMORY_RESERVATION=64m", "RATE_LIMIT=0", "STOP_GRACE=10s"}
	for file, c := range map[string]struct {
		routing string
		names   func(host string) []string
	}{
		"dns01.yaml":  {"gateway", func(string) []string { return []string{"*." + containerDomain} }},
		"http01.yaml": {"labels", func(host string) []string { return []string{host} }},
	} {
		t.Run(file, func(t *testing.T) {
			s := newStack(t)
			a := s.startAuthority()
			if err := os.WriteFile(filepath.Join(s.dir, "authority.pem"), a.ca, 0o644); err != nil {
				t.Fatal(err)
			}
			over := `
version: "3.9"
services:
  traefik:
    environment:
      TRAEFIK_CERTIFICATESRESOLVERS_LETSENCRYPT_ACME_CACERTIFICATES: /run/secrets/authority
    secrets:
      - {source: authority, target: authority, mode: 0400}
secrets:
  authority:
    file: authority.pem
`
			if file == "dns01.yaml" { // the lab has no DNS of its own
				over = strings.Replace(over, "    secrets:\n", `      TRAEFIK_CERTIFICATESRESOLVERS_LETSENCRYPT_ACME_DNSCHALLENGE_RESOLVERS: `+a.resolver+`
      TRAEFIK_CERTIFICATESRESOLVERS_LETSENCRYPT_ACME_DNSCHALLENGE_PROPAGATION_DISABLECHECKS: "true"
      HTTPREQ_USERNAME: berth
      HTTPREQ_ENDPOINT: `+a.records+"\n    secrets:\n", 1)
				s.secret("berth-acme-dns-token", dnsToken)
			}
			if err := os.WriteFile(filepath.Join(s.dir, "authority.yaml"), []byte(over), 0o644); err != nil {
				t.Fatal(err)
			}
			s.certificates = "traefik/" + file + " authority.yaml"
			s.more = []string{"ACME_EMAIL=admin@" + stackDomain, "ACME_SERVER=" + a.directory, "ACME_DNS_PROVIDER=httpreq", "ACME_DNS_TOKEN=HTTPREQ_PASSWORD"}
			s.up(c.routing, settings...) // and then the API's certificate is valid

			made := s.create()
			s.succeed(made.Job.ID)
			for _, host := range []string{"api." + stackDomain, "traefik." + stackDomain} {
				s.has(host, []string{host})
			}
			for _, p := range ide.Ports {
				host := strings.TrimPrefix(made.URLs.Of(p), "https://")
				s.has(host, c.names(host))
			}
			s.shows(t, made)
		})
	}
}

// has waits for the certificate of a host.
func (s *stack) has(host string, want []string) {
	s.t.Helper()
	s.eventually("a certificate for "+host, patience, func() error {
		names, err := s.certificate(host)
		if err == nil && !slices.Equal(names, want) {
			err = fmt.Errorf("it is for %v, want %v", names, want)
		}
		return err
	})
}
