package main

import (
	"encoding/json"
	"net/http"
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
	ID           string          `json:"id"`
	Version      string          `json:"version"`
	StartedAt    time.Time       `json:"startedAt"`
	Ready        bool            `json:"ready"` // all ports are open
	Services     []serviceStatus `json:"services"`
	LastActivity activity        `json:"lastActivity"`
	Connections  int64           `json:"connections"` // requests under way on the users' ports
}

type serviceStatus struct {
	Name string `json:"name"` // vnc, code or web
	Port uint16 `json:"port"`
	Up   bool   `json:"up"` // web: there is something to serve
}

// control answers on the agent's own port: all but whether it is alive only to
// who has the token.
func (a *agent) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, r *http.Request) {
		s := status{
			ID: a.cfg.ID, Version: version(), StartedAt: a.started, Ready: a.ready.Load(),
			LastActivity: a.lastActivity(), Connections: a.connections.Load(),
		}
		for _, v := range a.services {
			s.Services = append(s.Services, serviceStatus{v.port.Name, v.port.Number, v.up()})
		}
		writeJSON(w, http.StatusOK, s)
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
