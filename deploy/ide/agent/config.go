package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"berth/internal/ide"
)

// defaultGrace is the engine's own, where nobody says another.
const defaultGrace = 10 * time.Second

// config is what an agent is told by its environment.
type config struct {
	ID         string // BERTH_ID, the container's
	Workspace  string // BERTH_WORKSPACE, default ide.WorkspaceDir
	State      string // sockets and password files, of this user only
	WebCommand string // WEB_COMMAND, the user's web server
	Secrets    ide.Secrets
	Probe      string        // marks the control plane's own requests
	Place      *ide.Place    // where the workspace is kept; nil is nowhere
	SaveOnly   bool          // BERTH_MODE=save: nothing runs, what an earlier agent left is saved
	Grace      time.Duration // BERTH_STOP_GRACE: between SIGTERM and SIGKILL
	Guarded    bool          // BERTH_GUARDED=true: the node's worker says when its filter stands
	Image      image
}

// image says where an image has its programs. The slim one has none.
type image struct {
	Node, CodeServer              string // CodeServer is Node's first argument
	Xvnc, WindowManager, IdleTime string
	NoVNC                         string // the folder of its pages
	Shell                         string
	Versions                      string // a file: name to version, as JSON
	Login                         string // a file: the words of code-server's login page
}

// fullImage is what deploy/ide/Dockerfile makes.
var fullImage = image{
	Node: "/opt/node/bin/node", CodeServer: "/opt/code-server/out/node/entry.js",
	Xvnc: "/usr/bin/Xtigervnc", WindowManager: "/usr/bin/jwm", IdleTime: "/usr/bin/xprintidle",
	NoVNC: "/opt/novnc", Shell: "/bin/bash", Versions: "/opt/berth/versions.json", Login: "/opt/berth/login.json",
}

// full says whether this image has an editor and a desktop of its own.
func (i image) full() bool { return i.CodeServer != "" }

// readConfig reads the environment and the secret file (BERTH_SECRET_FILE,
// default ide.SecretFile). An agent without a password would let everybody in,
// so each is required. No error repeats anything of the file.
func readConfig(getenv func(string) string) (config, error) {
	c := config{
		ID: getenv("BERTH_ID"), Workspace: getenv("BERTH_WORKSPACE"), WebCommand: getenv("WEB_COMMAND"),
		SaveOnly: getenv(ide.ModeVariable) == ide.ModeSave, Grace: defaultGrace,
	}
	c.Guarded = getenv(ide.GuardedVariable) == "true" && !c.SaveOnly
	if n, err := strconv.Atoi(getenv(ide.GraceVariable)); err == nil && n > 0 {
		c.Grace = time.Duration(n) * time.Second
	}
	if c.ID == "" {
		return c, errors.New("read environment: BERTH_ID is not set")
	}
	if c.Workspace == "" {
		c.Workspace = ide.WorkspaceDir
	}
	home := getenv("HOME")
	if home == "" {
		home = os.TempDir()
	}
	c.State = filepath.Join(home, ".local", "state", "berth")
	if _, err := os.Stat(fullImage.CodeServer); err == nil {
		c.Image = fullImage
	}
	name := getenv("BERTH_SECRET_FILE")
	if name == "" {
		name = ide.SecretFile
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return c, fmt.Errorf("read secrets: %w", err)
	}
	var told ide.AgentConfig
	if json.Unmarshal(b, &told) != nil {
		return c, fmt.Errorf("read secrets: %s is not the JSON that was expected", name)
	}
	c.Secrets, c.Place, c.Probe = told.Secrets, told.Place, told.Probe
	if s := c.Secrets; s.AgentToken == "" || s.VNCPassword == "" || s.CodePassword == "" {
		return c, fmt.Errorf("read secrets: %s lacks agentToken, vncPassword or codePassword", name)
	}
	return c, nil
}
