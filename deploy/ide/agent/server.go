package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"berth/internal/ide"
)

// startFile is the user's own start script, in the workspace.
const startFile = ".berth-start"

// webServer is the user's server behind the agent's web port: WEB_COMMAND or
// .berth-start, which the agent keeps running, or whatever a person has started
// by hand.
type webServer struct {
	a       *agent
	program *program
	front   *front
	listens func() bool
}

func newWebServer(a *agent) *webServer {
	port := strconv.Itoa(int(ide.PortWeb.Number))
	s := &webServer{a: a, listens: func() bool { return listensInside("/proc/net", ide.PortWeb.Number) }}
	s.front = newFront(front{dial: loopbackDialer(port), moved: func() { a.touch("web") }, absent: s.absent}, a.log)
	s.program = a.program("web", func() (*exec.Cmd, error) {
		cmd := s.command()
		if cmd != nil {
			cmd.Env, cmd.Dir = append(a.environ(), "PORT="+port), a.cfg.Workspace
		}
		return cmd, nil
	})
	s.program.answers = s.listens
	s.program.yields = ide.PortWeb.Number
	return s
}

// command is what to start; nil: nothing. The script is looked for again and
// again: it may come with the restored workspace, or be written later.
func (s *webServer) command() *exec.Cmd {
	if c := s.a.cfg.WebCommand; c != "" {
		return exec.Command(s.a.cfg.Image.Shell, "-c", c)
	}
	info, err := s.a.root.Stat(startFile)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o100 == 0 {
		return nil
	}
	return exec.Command(filepath.Join(s.a.cfg.Workspace, startFile))
}

func (s *webServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.a.byPerson(r) {
		s.front.proxy.ServeHTTP(w, r)
		return
	}
	s.a.touch("web")
	s.front.ServeHTTP(w, r)
}

// absent answers for a server that is not there, or that has broken off. The
// request is the one that was to go inside, without the mark of a probe.
func (s *webServer) absent(w http.ResponseWriter, r *http.Request, err error) {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		s.a.show(w, r)
		return
	}
	s.a.render(w, http.StatusBadGateway, "message.html", view{
		Title: "Web server", Bad: true, Message: "The server on port 3000 has ended the connection without an answer.",
	})
}

func (s *webServer) up() bool { return s.listens() || s.a.hasSite() }

// listensInside says whether a server has a port of the loopback or of all
// addresses: the agent has it of the others. It looks and does not knock, so
// that a user's server sees the user's connections only.
func listensInside(netDir string, port uint16) bool {
	const listening = "0A"
	for _, name := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(filepath.Join(netDir, name))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line) // number, local address, remote address, state
			if len(f) < 4 || f[3] != listening {
				continue
			}
			host, at, _ := strings.Cut(f[1], ":")
			inside := strings.HasSuffix(host, "7F") || host == "00000000000000000000000001000000" || strings.Trim(host, "0") == ""
			if n, err := strconv.ParseUint(at, 16, 16); err == nil && uint16(n) == port && inside {
				return true
			}
		}
	}
	return false
}
