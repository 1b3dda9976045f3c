package openapi

import (
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// hookTexts says when each type of event is told.
var hookTexts = map[string]string{
	"container.starting":     "A start was admitted.",
	"container.running":      "All three URLs answer.",
	"container.stopping":     "A stop was asked for.",
	"container.stopped":      "The container is gone and its workspace is saved.",
	"container.failed":       "A start or a stop was given up.",
	"container.idle_warning": "Nobody uses the container; it is stopped soon.",
	"job.succeeded":          "A container's job succeeded.",
	"job.failed":             "A job failed.",
	ide.TypeNodeDown:         "A node does not answer Swarm any more. For admins' endpoints.",
	ide.TypeNodeUp:           "A node is ready again. For admins' endpoints.",
	ide.TypeNodeFailing:      "Three starts in a row failed on a node that went well on others: nothing is put there for five minutes. For admins' endpoints.",
	ide.TypeNodePressure:     "What a node is short of has changed: data.node.pressure names it, nothing once that is over. For admins' endpoints.",
}

// describeWebhooks writes the document's webhooks section: one entry for each
// type of event, with what its body holds.
func describeWebhooks(doc *huma.OpenAPI) {
	payload := doc.Components.Schemas.Schema(reflect.TypeFor[ide.Payload](), true, "Payload")
	header := func(name, text, example string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: true, Description: text, Example: example, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	doc.Webhooks = map[string]*huma.PathItem{}
	for _, t := range ide.WebhookTypes() {
		about, _, _ := strings.Cut(t, ".")
		body := &huma.Schema{AllOf: []*huma.Schema{payload, {
			Type: huma.TypeObject,
			Properties: map[string]*huma.Schema{
				"type": {Type: huma.TypeString, Enum: []any{t}},
				"data": {Type: huma.TypeObject, Required: []string{about}},
			},
		}}}
		doc.Webhooks[t] = &huma.PathItem{Post: &huma.Operation{
			OperationID: "on-" + strings.NewReplacer(".", "-", "_", "-").Replace(t), Tags: []string{"webhooks"}, Summary: hookTexts[t],
			Description: "Sent to webhooks as Standard Webhooks describe (standardwebhooks.com), at least once.",
			Security:    []map[string][]string{},
			Parameters: []*huma.Param{
				header("webhook-id", "The same for every attempt at this event", "msg_1763987021337_0"),
				header("webhook-timestamp", "When it was sent, in seconds since 1970", "1763987021"),
				header("webhook-signature", "v1, and the HMAC-SHA256 of id.timestamp.body in base64; several by blanks while a secret is replaced", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
			},
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: body}}},
			Responses: map[string]*huma.Response{
				"2XX":                         {Description: "Delivered, if it comes within 15 s"},
				strconv.Itoa(http.StatusGone): {Description: "The webhook is disabled"},
				"default":                     {Description: "Tried again, for three days; Retry-After is heeded"},
			},
		}}
	}
}
