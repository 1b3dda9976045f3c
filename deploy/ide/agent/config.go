package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"berth/internal/ide"
)

// config is what an agent is told by its environment.
type config struct {
	ID        string // BERTH_ID, the container's
	Workspace string // BERTH_WORKSPACE, default /home/ide/workspace
	Secrets   ide.Secrets
}

// readConfig reads the environment and the secret file (BERTH_SECRET_FILE,
// default ide.SecretFile). An agent without a password would let everybody in,
// so each is required. No error repeats anything of the file.
func readConfig(getenv func(string) string) (config, error) {
	c := config{ID: getenv("BERTH_ID"), Workspace: getenv("BERTH_WORKSPACE")}
	if c.ID == "" {
		return c, errors.New("read environment: BERTH_ID is not set")
	}
	if c.Workspace == "" {
		c.Workspace = "/home/ide/workspace"
	}
	name := getenv("BERTH_SECRET_FILE")
	if name == "" {
		name = ide.SecretFile
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return c, fmt.Errorf("read secrets: %w", err)
	}
	if json.Unmarshal(b, &c.Secrets) != nil {
		return c, fmt.Errorf("read secrets: %s is not the JSON that was expected", name)
	}
	if s := c.Secrets; s.AgentToken == "" || s.VNCPassword == "" || s.CodePassword == "" {
		return c, fmt.Errorf("read secrets: %s lacks agentToken, vncPassword or codePassword", name)
	}
	return c, nil
}
