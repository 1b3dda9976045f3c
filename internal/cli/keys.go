package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"berth/openapi"
)

// Keys manages API keys.
type Keys struct {
	List   KeysList   `cmd:"" default:"1" help:"List API keys."`
	Create KeysCreate `cmd:"" help:"Make an API key; it is shown once."`
	Delete KeysDelete `cmd:"" help:"Revoke an API key."`
}

// KeysList lists API keys.
type KeysList struct{}

// Run implements the command.
func (KeysList) Run(g *Globals) error {
	var l openapi.KeyList
	if err := g.call(http.MethodGet, "/api/keys", nil, nil, &l); err != nil {
		return err
	}
	return g.show(l, func(w io.Writer) {
		rows(w, "NAME\tROLE\tSOURCE\tLAST USED", func(row func(...any)) {
			for _, k := range l.Keys {
				used := ""
				if k.LastUsed != nil {
					used = age(*k.LastUsed) + " ago"
				}
				row(k.Name, k.Role, k.Source, used)
			}
		})
	})
}

// KeysCreate makes an API key.
type KeysCreate struct {
	Name          string   `arg:"" help:"Stable name: it owns what the key makes."`
	Role          string   `enum:"admin,client,viewer" default:"client" help:"admin, client or viewer."`
	Bucket        []string `help:"Patterns of buckets that it may use."`
	MaxContainers int      `help:"Live containers."`
	RateLimit     int      `help:"Requests a minute."`
}

// Run implements the command.
func (c KeysCreate) Run(g *Globals) error {
	body := map[string]any{"name": c.Name, "role": c.Role}
	if len(c.Bucket) > 0 {
		body["buckets"] = c.Bucket
	}
	if c.MaxContainers > 0 {
		body["maxContainers"] = c.MaxContainers
	}
	if c.RateLimit > 0 {
		body["rateLimit"] = c.RateLimit
	}
	var k openapi.NewKeyAnswer
	if err := g.call(http.MethodPost, "/api/keys", nil, body, &k); err != nil {
		return err
	}
	return g.show(k, func(w io.Writer) { fmt.Fprintln(w, k.Key) })
}

// KeysDelete revokes an API key.
type KeysDelete struct {
	Name string `arg:"" help:"Its name."`
}

// Run implements the command.
func (c KeysDelete) Run(g *Globals) error {
	return g.call(http.MethodDelete, "/api/keys/"+url.PathEscape(c.Name), nil, nil, nil)
}
