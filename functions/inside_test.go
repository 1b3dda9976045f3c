package functions

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm/swarmtest"
)

// answer is what the inside of a container says.
type answer struct {
	status   int
	body     string
	noServer bool // the agent's 502 where nothing listens
}

// inside answers for the agents and, in place of the edge, for the three ports
// of every container. A function's client reaches it under every address.
type inside struct {
	server *httptest.Server

	mu      sync.Mutex
	secrets map[string]ide.Secrets // of running containers, by address
	given   []string               // every Swarm secret that a container got
	script  map[string][]answer    // by "agent", "vnc", "code" and "web"; the last answer stays
	// finishes: an agent takes the request for the last save; else it refuses it.
	finishes bool
	probes   map[string]bool // values of the probe header

	credentials map[string][]ide.S3Credentials    // that agents were handed, by address
	handed      func(context.Context, string) int // if not nil, the answer of the agent at an address to them
}

func newInside(t testing.TB) *inside {
	i := &inside{secrets: map[string]ide.Secrets{}, script: map[string][]answer{}, probes: map[string]bool{}, credentials: map[string][]ide.S3Credentials{}}
	i.server = httptest.NewServer(i)
	t.Cleanup(i.server.Close)
	return i
}

func (i *inside) client() *http.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", i.server.Listener.Addr().String())
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: time.Minute}
}

// say sets what a port, or the agent, answers from now on.
func (i *inside) say(name string, answers ...answer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.script[name] = answers
}

func (i *inside) started(s swarmtest.Started) (stop func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var secrets ide.Secrets
	_ = json.Unmarshal(s.Secret, &secrets) // without one the agent refuses everybody
	i.secrets[s.Address.String()] = secrets
	i.given = append(i.given, string(s.Secret))
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.secrets, s.Address.String())
	}
}

func (i *inside) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	host, port, _ := net.SplitHostPort(r.Host)
	label, _, _ := strings.Cut(host, ".")
	name := label[strings.LastIndex(label, "-")+1:]
	said := answer{status: http.StatusOK}
	if port == "9000" {
		name, said.body = "agent", `{"ready":true}`
		if token := i.secrets[host].AgentToken; token == "" || r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path == ide.AgentCredentialsPath {
			i.take(w, r, host)
			return
		}
		if r.URL.Path == ide.AgentFinishPath && i.finishes {
			_, _ = w.Write([]byte(`{"number":0}`))
			return
		}
		if r.URL.Path != ide.AgentStatusPath {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
	} else {
		i.probes[r.Header.Get(ide.ProbeHeader)] = true
	}
	if list := i.script[name]; len(list) > 0 {
		said = list[0]
		if len(list) > 1 {
			i.script[name] = list[1:]
		}
	}
	if said.noServer {
		w.Header().Set(ide.NoServerHeader, "1")
		said.status = http.StatusBadGateway
	}
	w.WriteHeader(said.status)
	_, _ = w.Write([]byte(said.body))
}

// take is an agent that is handed credentials. The caller holds the lock.
func (i *inside) take(w http.ResponseWriter, r *http.Request, address string) {
	var c ide.S3Credentials
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if handed := i.handed; handed != nil {
		i.mu.Unlock()
		status := handed(r.Context(), address)
		i.mu.Lock()
		if status != http.StatusNoContent {
			w.WriteHeader(status)
			return
		}
	}
	i.credentials[address] = append(i.credentials[address], c)
	w.WriteHeader(http.StatusNoContent)
}

// answerCredentials sets what agents answer that are handed credentials; nil is
// that they take them.
func (i *inside) answerCredentials(handed func(ctx context.Context, address string) int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.handed = handed
}

// lastCredentials returns what the agent at an address was handed last.
func (i *inside) lastCredentials(address string) ide.S3Credentials {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.credentials[address]
	if len(all) == 0 {
		return ide.S3Credentials{}
	}
	return all[len(all)-1]
}
