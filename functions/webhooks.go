package functions

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"
)

// WebhookRequest asks that an endpoint be told of events.
type WebhookRequest struct {
	URL    string   `json:"url" maxLength:"2048" example:"https://hooks.example.org/berth" doc:"Where events are posted: https or http, a public address"`
	Secret string   `json:"secret,omitempty" maxLength:"128" doc:"What deliveries are signed with: whsec_ and 24 to 64 bytes in base64; random if missing" example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`
	Events []string `json:"events,omitempty" maxItems:"32" enum:"container.starting,container.running,container.stopping,container.stopped,container.failed,container.idle_warning,job.succeeded,job.failed,node.down,node.up,node.pressure,node.failing" doc:"Types of event; all if missing. Events of nodes go to admins' endpoints only"`
}

// check says what is wrong with a request; at is where it stands.
func (r WebhookRequest) check(d *Deps, at string) error {
	if why := badWebhookURL(r.URL, d.WebhookAllow); why != "" {
		return invalid(at+"url", why)
	}
	if r.Secret != "" && !validHookSecret(r.Secret) {
		return invalid(at+"secret", "secret must be whsec_ and 24 to 64 bytes in base64")
	}
	for _, t := range r.Events {
		if !ide.IsWebhookType(t) {
			return invalid(at+"events", "events must be types that a webhook can hear of, as container.running")
		}
	}
	return nil
}

// endpoint returns a new webhook of p's and its secret in plain.
func (r WebhookRequest) endpoint(d *Deps, p ide.Principal) (ide.Webhook, string, error) {
	w := ide.Webhook{ID: ide.NewID(), Owner: p.Name, All: p.Role == ide.Admin, URL: r.URL, CreatedAt: time.Now().UTC(),
		Events: slices.Compact(slices.Sorted(slices.Values(r.Events)))}
	secret := r.Secret
	if secret == "" {
		secret = newHookSecret()
	}
	sealed, err := d.Box.Seal(hookContext(w.ID), secret)
	w.Secrets = []ide.HookSecret{{Sealed: sealed}}
	return w, secret, err
}

// hookPrefix begins a secret, as in Standard Webhooks.
const hookPrefix = "whsec_"

func newHookSecret() string {
	b := make([]byte, 32)
	rand.Read(b)
	return hookPrefix + base64.StdEncoding.EncodeToString(b)
}

func validHookSecret(s string) bool {
	raw, ok := strings.CutPrefix(s, hookPrefix)
	b, err := base64.StdEncoding.Strict().DecodeString(raw)
	return ok && err == nil && len(b) >= 24 && len(b) <= 64
}

// hookContext binds sealed secrets to their webhook.
func hookContext(id string) string { return "webhook/" + id }

// AddWebhook makes a standing endpoint of p's, and returns its secret, which is
// not shown again.
func AddWebhook(ctx context.Context, d *Deps, p ide.Principal, r WebhookRequest) (ide.Webhook, string, error) {
	if err := r.check(d, "body."); err != nil {
		return ide.Webhook{}, "", err
	}
	w, secret, err := r.endpoint(d, p)
	if err != nil {
		return w, "", err
	}
	w.State = &ide.WebhookState{}
	return w, secret, d.Store.AddWebhook(ctx, w, d.WebhooksPerKey)
}

// How long a secret signs on after it was replaced, and how many such there
// may be.
const (
	hookOverlap    = 24 * time.Hour
	hookOldSecrets = 3
)

// RotateWebhook gives an endpoint a new secret, and returns it. The old ones
// sign beside it for a day.
func RotateWebhook(ctx context.Context, d *Deps, id string) (string, error) {
	secret := newHookSecret()
	sealed, err := d.Box.Seal(hookContext(id), secret)
	if err != nil {
		return "", err
	}
	until := time.Now().Add(hookOverlap).UTC()
	_, err = d.Store.EditWebhook(ctx, id, func(w *ide.Webhook) {
		old := validSecrets(w.Secrets)
		if len(old) > 0 && old[0].Until == nil {
			old[0].Until = &until
		}
		w.Secrets = append([]ide.HookSecret{{Sealed: sealed}}, old[:min(len(old), hookOldSecrets)]...)
	})
	return secret, err
}

// validSecrets are those that still sign.
func validSecrets(all []ide.HookSecret) []ide.HookSecret {
	return slices.DeleteFunc(slices.Clone(all), func(s ide.HookSecret) bool { return s.Until != nil && time.Now().After(*s.Until) })
}

// WebhookSecret returns the present secret of an endpoint.
func WebhookSecret(d *Deps, w ide.Webhook) (string, error) {
	secrets, err := hookSecrets(d, w)
	if err != nil {
		return "", err
	}
	return secrets[0], nil
}

// hookSecrets are all that sign now, the present one first.
func hookSecrets(d *Deps, w ide.Webhook) ([]string, error) {
	var open []string
	for _, s := range validSecrets(w.Secrets) {
		var secret string
		if err := d.Box.Open(hookContext(w.ID), s.Sealed, &secret); err != nil {
			e := ide.Errorf(ide.Internal, "The webhook's secret cannot be opened: SECRET_KEY was changed without keeping the old one.")
			e.Err = err
			return nil, e
		}
		open = append(open, secret)
	}
	return open, nil
}
