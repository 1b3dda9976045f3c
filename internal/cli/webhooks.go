package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"berth/functions"
	"berth/internal/ide"
	"berth/openapi"
)

// Webhooks manages standing endpoints.
type Webhooks struct {
	List       WebhooksList       `cmd:"" default:"1" help:"List standing webhooks."`
	Create     WebhooksCreate     `cmd:"" help:"Make a webhook; its secret is shown once."`
	Delete     WebhooksDelete     `cmd:"" help:"Delete a webhook and its deliveries."`
	Rotate     WebhooksRotate     `cmd:"" help:"Give it a new secret; the old one signs beside it for 24 hours."`
	Deliveries WebhooksDeliveries `cmd:"" help:"What it was told, newest first."`
	Redeliver  WebhooksRedeliver  `cmd:"" help:"Deliver once more, or now instead of later."`
}

// WebhooksList lists webhooks.
type WebhooksList struct{}

// Run implements the command.
func (WebhooksList) Run(g *Globals) error {
	var l openapi.WebhookList
	if err := g.call(http.MethodGet, "/api/webhooks", nil, nil, &l); err != nil {
		return err
	}
	return g.show(l, func(w io.Writer) {
		rows(w, "ID\tOWNER\tSTATE\tWAITING\tEVENTS\tURL", func(row func(...any)) {
			for _, h := range l.Webhooks {
				state, events := "ok", strings.Join(h.Events, ",")
				switch {
				case h.DisabledAt != nil:
					state = "disabled: " + h.Disabled
				case h.Failures > 0:
					state = "failing"
				}
				if events == "" {
					events = "all"
				}
				row(h.ID, h.Owner, state, h.Waiting, events, h.URL)
			}
		})
	})
}

// WebhooksCreate makes a webhook.
type WebhooksCreate struct {
	URL    string   `arg:"" help:"Where events are posted."`
	Event  []string `help:"Types of event; all if missing."`
	Secret string   `help:"What deliveries are signed with, whsec_ and base64; random if missing."`
}

// Run implements the command.
func (c WebhooksCreate) Run(g *Globals) error {
	var made openapi.NewWebhookAnswer
	body := functions.WebhookRequest{URL: c.URL, Events: c.Event, Secret: c.Secret}
	if err := g.call(http.MethodPost, "/api/webhooks", nil, body, &made); err != nil {
		return err
	}
	return g.showSecret(made)
}

func (g *Globals) showSecret(made openapi.NewWebhookAnswer) error {
	return g.show(made, func(w io.Writer) {
		rows(w, "", func(row func(...any)) {
			row("ID", made.ID)
			row("Secret", made.Secret)
		})
	})
}

// WebhookID names a webhook.
type WebhookID struct {
	ID string `arg:"" help:"Webhook."`
}

func (w WebhookID) path() string { return "/api/webhooks/" + url.PathEscape(w.ID) }

// WebhooksDelete deletes a webhook.
type WebhooksDelete struct{ WebhookID }

// Run implements the command.
func (c WebhooksDelete) Run(g *Globals) error {
	return g.call(http.MethodDelete, c.path(), nil, nil, nil)
}

// WebhooksRotate replaces a webhook's secret.
type WebhooksRotate struct{ WebhookID }

// Run implements the command.
func (c WebhooksRotate) Run(g *Globals) error {
	var made openapi.NewWebhookAnswer
	if err := g.call(http.MethodPost, c.path()+"/rotate", nil, nil, &made); err != nil {
		return err
	}
	return g.showSecret(made)
}

// WebhooksDeliveries lists deliveries.
type WebhooksDeliveries struct {
	WebhookID
	Limit  int `default:"50" help:"At most so many."`
	Offset int `help:"Leave out so many of the newest."`
}

// Run implements the command.
func (c WebhooksDeliveries) Run(g *Globals) error {
	var l openapi.DeliveryList
	if err := g.call(http.MethodGet, c.path()+"/deliveries", page("", c.Limit, c.Offset), nil, &l); err != nil {
		return err
	}
	return g.show(l, func(w io.Writer) {
		rows(w, "DELIVERY\tTYPE\tSTATUS\tATTEMPTS\tAGE\tLAST ANSWER", func(row func(...any)) {
			for _, d := range l.Deliveries {
				row(d.ID, d.Type, d.Status, d.Count, age(d.At), lastAnswer(d.Attempts))
			}
		})
		more(w, len(l.Deliveries), l.Page)
	})
}

// lastAnswer is how the latest attempt went.
func lastAnswer(attempts []ide.Attempt) string {
	if len(attempts) == 0 {
		return ""
	}
	last := attempts[len(attempts)-1]
	if last.Error != "" {
		return last.Error
	}
	return fmt.Sprintf("%d in %.2fs", last.Status, last.Seconds)
}

// WebhooksRedeliver delivers again.
type WebhooksRedeliver struct {
	WebhookID
	Delivery string `arg:"" help:"Delivery."`
}

// Run implements the command.
func (c WebhooksRedeliver) Run(g *Globals) error {
	var d openapi.DeliveryAnswer
	if err := g.call(http.MethodPost, c.path()+"/deliveries/"+url.PathEscape(c.Delivery)+"/redeliver", nil, nil, &d); err != nil {
		return err
	}
	return g.show(d, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", d.ID, d.Status) })
}
