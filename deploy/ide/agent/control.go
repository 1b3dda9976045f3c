package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/docker/go-units"

	"berth/internal/ide"
)

const (
	alivePath  = "/_berth/alive"
	statusPath = ide.AgentStatusPath
	healthPath = "/healthz" // on the users' ports, open to all, never activity
)

// status is what the control plane asks for.
type status struct {
	ID           string            `json:"id"`
	Version      string            `json:"version"`
	Versions     map[string]string `json:"versions,omitempty"` // of what the image is made of
	StartedAt    time.Time         `json:"startedAt"`
	Now          time.Time         `json:"now"`               // by this clock, as all times here
	CPUSeconds   float64           `json:"cpuSeconds"`        // that all programs here have used; 0 is unknown
	Ready        bool              `json:"ready"`             // all ports are open, and what is behind them has been up
	Message      string            `json:"message,omitempty"` // what is waited for
	Services     []serviceStatus   `json:"services"`
	LastActivity activity          `json:"lastActivity"`
	Connections  int64             `json:"connections"` // requests under way on the users' ports

	Workspace ide.WorkspaceStatus `json:"workspace"`
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
		ID: a.cfg.ID, Version: version(), Versions: a.versions, StartedAt: a.started, Now: a.now().UTC(), CPUSeconds: cpuSeconds("/sys/fs/cgroup"),
		LastActivity: a.lastActivity(), Workspace: a.keeper.now(),
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
	if w := a.keeper.now(); w.Kept && !w.Restored {
		return false, restoring(w)
	}
	if !a.isOpen() {
		return false, shut
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

// restoring says how far a restore is.
func restoring(w ide.WorkspaceStatus) string {
	switch m := w.Moved; {
	case w.Error != nil:
		return "The workspace is not restored. " + w.Error.Message
	case m == nil:
		return "The workspace is being restored."
	default:
		return fmt.Sprintf("Restored %d of %d files, %s of %s.", m.Files, m.TotalFiles,
			units.HumanSize(float64(m.Bytes)), units.HumanSize(float64(m.TotalBytes)))
	}
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
	mux.HandleFunc("POST "+ide.AgentOpenPath, func(w http.ResponseWriter, _ *http.Request) {
		a.open()
		w.WriteHeader(http.StatusNoContent)
	})
	if a.keeper != nil {
		a.controlWorkspace(mux)
	}
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

// controlWorkspace adds what the control plane asks of the workspace. Saves run
// in the background: the answer is a number to wait for in the status, so that
// a connection that breaks ends nothing.
func (a *agent) controlWorkspace(mux *http.ServeMux) {
	mux.HandleFunc("POST "+ide.AgentSavePath, func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusAccepted, ide.Asked{Number: a.keeper.ask()})
	})
	mux.HandleFunc("POST "+ide.AgentFinishPath, func(w http.ResponseWriter, r *http.Request) {
		anew := r.URL.Query().Get("anew") != "" // the control plane has found the last generation damaged
		writeJSON(w, http.StatusAccepted, ide.Asked{Number: a.keeper.finish(context.WithoutCancel(r.Context()), anew, a.endPrograms)})
	})
	mux.HandleFunc("POST "+ide.AgentCredentialsPath, func(w http.ResponseWriter, r *http.Request) {
		var c ide.S3Credentials
		if json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&c) != nil || c.AccessKey == "" {
			http.Error(w, "These are no credentials.", http.StatusBadRequest)
			return
		}
		a.keeper.setCredentials(c)
		w.WriteHeader(http.StatusNoContent)
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
