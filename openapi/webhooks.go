package openapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"berth/functions"
	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// WebhookAnswer is a webhook without its secret.
type WebhookAnswer struct {
	ID            string     `json:"id" example:"wq5xqh5zt2mwf" doc:"It names the webhook in calls"`
	Owner         string     `json:"owner" doc:"Name of the API key that made it" example:"course-1"`
	URL           string     `json:"url" example:"https://hooks.example.org/berth" doc:"Where events are posted"`
	Events        []string   `json:"events" doc:"Types of event that it is told of; all if empty" example:"container.running"`
	All           bool       `json:"all" doc:"It is an admin's: it hears of every key's containers and jobs, and of nodes"`
	Container     string     `json:"containerId,omitempty" doc:"The container with whose start it came; it hears of that one only" example:"k3xqh5zt2mwfa"`
	CreatedAt     time.Time  `json:"createdAt" doc:"When it was made"`
	LastDelivered *time.Time `json:"lastDelivered,omitempty" doc:"When an event was last taken"`
	Waiting       int        `json:"waiting" doc:"Deliveries that are not done" example:"0"`
	Dropped       int        `json:"dropped,omitempty" doc:"Events that it was not told of because 5,000 were waiting" example:"12"`
	Failures      int        `json:"failures,omitempty" doc:"Failed attempts in a row" example:"3"`
	FailingSince  *time.Time `json:"failingSince,omitempty" doc:"The first of them"`
	DisabledAt    *time.Time `json:"disabledAt,omitempty" doc:"It is told nothing more since"`
	Disabled      string     `json:"disabledReason,omitempty" doc:"Why" example:"The endpoint answered 410 Gone."`
	OldSecrets    *time.Time `json:"oldSecretsUntil,omitempty" doc:"A replaced secret signs beside the present one so long"`
}

// WebhookList lists standing webhooks, oldest first.
type WebhookList struct {
	Webhooks []WebhookAnswer `json:"webhooks" doc:"Oldest first"`
}

// NewWebhookAnswer shows a webhook's secret, once.
type NewWebhookAnswer struct {
	WebhookAnswer
	Secret string `json:"secret" example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" doc:"What deliveries are signed with; it is not shown again"`
}

// DeliveryAnswer is one event on its way to a webhook.
type DeliveryAnswer struct {
	ID        string             `json:"id" example:"1763987021337-0" doc:"The event's place in the stream of events"`
	MessageID string             `json:"messageId" example:"msg_1763987021337_0" doc:"The webhook-id header, the same for every attempt"`
	Type      string             `json:"type" example:"container.running" doc:"What happened"`
	At        time.Time          `json:"at" doc:"When it happened"`
	Status    ide.DeliveryStatus `json:"status" enum:"waiting,delivered,failed" doc:"How far it is"`
	NextAt    *time.Time         `json:"nextAttemptAt,omitempty" doc:"When it is tried, while waiting"`
	Count     int                `json:"attemptCount" example:"1" doc:"How often it was tried"`
	Attempts  []ide.Attempt      `json:"attempts" doc:"The last 20"`
	Payload   json.RawMessage    `json:"payload" doc:"The body that is posted"`
}

// DeliveryList is a page of deliveries, newest first.
type DeliveryList struct {
	Deliveries []DeliveryAnswer `json:"deliveries" doc:"This page, newest first"`
	Page
}

func answerWebhook(w ide.Webhook) WebhookAnswer {
	out := WebhookAnswer{ID: w.ID, Owner: w.Owner, URL: w.URL, Events: append([]string{}, w.Events...), All: w.All, Container: w.Container, CreatedAt: w.CreatedAt,
		LastDelivered: w.State.LastDelivered, Waiting: w.State.Waiting, Dropped: w.State.Dropped, Failures: w.State.Failures,
		FailingSince: w.State.FailingSince, DisabledAt: w.State.DisabledAt, Disabled: w.State.Disabled}
	if len(w.Secrets) > 1 && time.Now().Before(*w.Secrets[1].Until) {
		out.OldSecrets = w.Secrets[1].Until
	}
	return out
}

func answerDelivery(d ide.Delivery) DeliveryAnswer {
	return DeliveryAnswer{ID: d.ID, MessageID: d.MessageID(), Type: d.Type, At: d.At, Status: d.Status, NextAt: d.Next, Count: d.Count,
		Attempts: append([]ide.Attempt{}, d.Attempts...), Payload: json.RawMessage(d.Body)}
}

// WebhookInput names a webhook. Huma reads embedded fields of exported types
// only.
type WebhookInput struct {
	ID string `path:"id" maxLength:"64" doc:"Webhook" example:"wq5xqh5zt2mwf"`
}

type deliveriesInput struct {
	WebhookInput
	ListInput
}

type deliveryInput struct {
	WebhookInput
	Delivery string `path:"delivery" maxLength:"64" doc:"Delivery" example:"1763987021337-0"`
}

// visibleWebhook returns a webhook that the caller may know of.
func (s *server) visibleWebhook(ctx context.Context, id string) (ide.Webhook, error) {
	w, err := s.deps.Store.Webhook(ctx, id)
	if err == nil && !ide.PrincipalOf(ctx).MaySee(w.Owner) {
		err = ide.Errorf(ide.NotFound, "There is no webhook %q.", id)
	}
	return w, err
}

// write describes an operation that changes something of the API's own.
func write(method string, status int, id, path, tag, summary string, errors ...int) huma.Operation {
	op := read(id, path, tag, summary, append(errors, http.StatusForbidden)...)
	op.Method, op.DefaultStatus = method, status
	return op
}

func (s *server) webhooks(api huma.API) {
	huma.Register(api, read("list-webhooks", "/api/webhooks", "webhooks", "List standing webhooks"),
		func(ctx context.Context, _ *struct{}) (*body[WebhookList], error) {
			owner := ""
			if p := ide.PrincipalOf(ctx); p.Role == ide.Client {
				owner = p.Name
			}
			list, err := s.deps.Store.Webhooks(ctx, owner)
			if err != nil {
				return nil, err
			}
			out := WebhookList{Webhooks: make([]WebhookAnswer, len(list))}
			for i, w := range list {
				out.Webhooks[i] = answerWebhook(w)
			}
			return &body[WebhookList]{out}, nil
		})
	huma.Register(api, write(http.MethodPost, http.StatusCreated, "create-webhook", "/api/webhooks", "webhooks",
		"Make a standing webhook; its secret is shown once", http.StatusConflict),
		func(ctx context.Context, in *struct{ Body functions.WebhookRequest }) (*body[NewWebhookAnswer], error) {
			w, secret, err := functions.AddWebhook(ctx, s.deps, ide.PrincipalOf(ctx), in.Body)
			if err != nil {
				return nil, err
			}
			return &body[NewWebhookAnswer]{NewWebhookAnswer{answerWebhook(w), secret}}, nil
		})
	huma.Register(api, read("get-webhook", "/api/webhooks/{id}", "webhooks", "Get a webhook", http.StatusNotFound),
		func(ctx context.Context, in *WebhookInput) (*body[WebhookAnswer], error) {
			w, err := s.visibleWebhook(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return &body[WebhookAnswer]{answerWebhook(w)}, nil
		})
	huma.Register(api, write(http.MethodDelete, http.StatusNoContent, "delete-webhook", "/api/webhooks/{id}", "webhooks",
		"Delete a webhook and its deliveries", http.StatusNotFound),
		func(ctx context.Context, in *WebhookInput) (*struct{}, error) {
			if _, err := s.visibleWebhook(ctx, in.ID); err != nil {
				return nil, err
			}
			return nil, s.deps.Store.RemoveWebhook(ctx, in.ID)
		})
	huma.Register(api, write(http.MethodPost, http.StatusOK, "rotate-webhook", "/api/webhooks/{id}/rotate", "webhooks",
		"Give a webhook a new secret; the old one signs beside it for 24 hours", http.StatusNotFound),
		func(ctx context.Context, in *WebhookInput) (*body[NewWebhookAnswer], error) {
			if _, err := s.visibleWebhook(ctx, in.ID); err != nil {
				return nil, err
			}
			secret, err := functions.RotateWebhook(ctx, s.deps, in.ID)
			if err != nil {
				return nil, err
			}
			w, err := s.deps.Store.Webhook(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return &body[NewWebhookAnswer]{NewWebhookAnswer{answerWebhook(w), secret}}, nil
		})
	s.deliveries(api)
}

func (s *server) deliveries(api huma.API) {
	huma.Register(api, read("list-webhook-deliveries", "/api/webhooks/{id}/deliveries", "webhooks", "What a webhook was told, newest first, with every attempt", http.StatusNotFound),
		func(ctx context.Context, in *deliveriesInput) (*body[DeliveryList], error) {
			if _, err := s.visibleWebhook(ctx, in.ID); err != nil {
				return nil, err
			}
			list, total, err := s.deps.Store.WebhookDeliveries(ctx, in.ID, in.Limit, in.Offset)
			if err != nil {
				return nil, err
			}
			out := DeliveryList{Deliveries: make([]DeliveryAnswer, len(list)), Page: Page{total, in.Limit, in.Offset}}
			for i, d := range list {
				out.Deliveries[i] = answerDelivery(d)
			}
			return &body[DeliveryList]{out}, nil
		})
	huma.Register(api, write(http.MethodPost, http.StatusAccepted, "redeliver-webhook", "/api/webhooks/{id}/deliveries/{delivery}/redeliver", "webhooks",
		"Deliver once more, or now instead of later", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *deliveryInput) (*body[DeliveryAnswer], error) {
			if _, err := s.visibleWebhook(ctx, in.ID); err != nil {
				return nil, err
			}
			if err := s.deps.Store.RedeliverWebhook(ctx, in.ID, in.Delivery); err != nil {
				return nil, err
			}
			d, err := s.deps.Store.WebhookDelivery(ctx, in.ID, in.Delivery)
			if err != nil {
				return nil, err
			}
			return &body[DeliveryAnswer]{answerDelivery(d)}, nil
		})
}
