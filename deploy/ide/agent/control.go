package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"berth/internal/ide"
)

const (
	alivePath  = "/_berth/alive"
	statusPath = "/_berth/status"
	healthPath = "/healthz" // on the users' ports, open to all, never activity
)

// status is what the control plane asks for.
type status struct {
	ID           string            `json:"id"`
	Version      string            `json:"version"`
	Versions     map[string]string `json:"versions,omitempty"` // of what the image is made of
	StartedAt    time.Time         `json:"startedAt"`
	Ready        bool              `json:"ready"`             // all ports are open, and what is behind them has been up
	Message      string            `json:"message,omitempty"` // what is waited for
	Services     []serviceStatus   `json:"services"`
	LastActivity activity          `json:"lastActivity"`
	Connections  int64             `json:"connections"` // requests under way on the users' ports
}

type serviceStatus struct {
	Name        string `json:"name"`           // vnc, code or web; desktop is the window manager
	Port        uint16 `json:"port,omitempty"` // where users reach it
	Up          bool   `json:"up"`             // web: there is something to serve
	Restarts    int    `json:"restarts"`
	LastExit    *exit  `json:"lastExit,omitempty"`
	Connections int64  `json:"connections"`
}

func (a *agent) status() status {
	s := status{
		ID: a.cfg.ID, Version: version(), Versions: a.versions, StartedAt: a.started,
		LastActivity: a.lastActivity(),
	}
	for _, v := range a.services {
		p, open := v.program.now(), v.connections.Load()
		s.Services = append(s.Services, serviceStatus{v.port.Name, v.port.Number, v.up(), p.Restarts, p.LastExit, open})
		s.Connections += open
	}
	if a.desktop != nil {
		p := a.desktop.wm.now()
		s.Services = append(s.Services, serviceStatus{Name: "desktop", Up: p.Up, Restarts: p.Restarts, LastExit: p.LastExit})
	}
	s.Ready, s.Message = a.isReady(s.Services)
	return s
}

// isReady says whether everything that a person expects has been up once. What
// crashes later is restarted, and shows in its own line.
func (a *agent) isReady(services []serviceStatus) (bool, string) {
	if !a.ready.Load() {
		return false, ""
	}
	if a.whole.Load() {
		return true, ""
	}
	for _, s := range services {
		if s.Up || s.Name == ide.PortWeb.Name {
			continue
		}
		what := map[string]string{"vnc": "desktop", "code": "editor", "desktop": "window manager"}[s.Name]
		if e := s.LastExit; e != nil {
			return false, fmt.Sprintf("The %s has ended %d times, the last time with code %d %s.", what, s.Restarts, e.Code, e.Signal)
		}
		return false, "The " + what + " is starting."
	}
	a.whole.Store(true)
	return true, ""
}

// readVersions reads what the image says of itself.
func readVersions(name string) (v map[string]string) {
	if b, err := os.ReadFile(name); err == nil {
		json.Unmarshal(b, &v)
	}
	return v
}

// control answers on the agent's own port: all but whether it is alive only to
// who has the token.
func (a *agent) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, a.status())
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == alivePath && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || !same(token, a.cfg.Secrets.AgentToken) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "A token is needed.", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// alive answers GET /healthz on a user's port.
func alive(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// writeError answers a program that cannot read a page.
func writeError(w http.ResponseWriter, status int, code ide.Code, message string) {
	writeJSON(w, status, map[string]any{"error": ide.Error{Code: code, Message: message}})
}
