package openapi

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"path"
	"slices"
	"time"

	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// KeyAnswer is an API key without its secret.
type KeyAnswer struct {
	Name      string     `json:"name" example:"course-1" doc:"It owns what the key makes"`
	Role      ide.Role   `json:"role" enum:"admin,client,viewer" doc:"admin sees and does all, client its own, viewer sees all and changes nothing"`
	Source    string     `json:"source" enum:"environment,api" doc:"environment: set by the operator, and removed there"`
	CreatedAt *time.Time `json:"createdAt,omitempty" doc:"When it was made"`
	CreatedBy string     `json:"createdBy,omitempty" example:"admin" doc:"Name of the key that made it"`
	LastUsed  *time.Time `json:"lastUsed,omitempty" doc:"When it last came with a request, to 10 seconds"`
	ide.Limits
}

// KeyList lists API keys by name.
type KeyList struct {
	Keys []KeyAnswer `json:"keys" doc:"Those of the environment, then those made at run time, by name"`
}

// NewKeyRequest asks for an API key.
type NewKeyRequest struct {
	Name string   `json:"name" maxLength:"63" pattern:"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$" example:"course-1" doc:"Stable name: it owns what the key makes"`
	Role ide.Role `json:"role" enum:"admin,client,viewer" doc:"admin sees and does all, client its own, viewer sees all and changes nothing"`
	ide.Limits
}

// NewKeyAnswer shows a key's secret, once.
type NewKeyAnswer struct {
	KeyAnswer
	Key string `json:"key" doc:"The secret; it is not shown again" example:"berth_0123456789abcdefghijklmnopqrstuvwxyzABCD"`
}

func answerKey(k ide.Key) KeyAnswer {
	return KeyAnswer{Name: k.Name, Role: k.Role, Source: "api", CreatedAt: &k.CreatedAt, CreatedBy: k.CreatedBy, Limits: k.Limits}
}

// keyPrefix makes a key easy to find in the places where secrets should not be.
const keyPrefix = "berth_"

func (s *server) apiKeys(api huma.API) {
	huma.Register(api, read("list-keys", "/api/keys", "keys", "List API keys", http.StatusForbidden),
		func(ctx context.Context, _ *struct{}) (*body[KeyList], error) {
			made, used, err := s.deps.Store.Keys(ctx)
			if err != nil {
				return nil, err
			}
			out := KeyList{Keys: []KeyAnswer{}}
			for _, k := range s.keys {
				out.Keys = append(out.Keys, KeyAnswer{Name: k.principal.Name, Role: k.principal.Role, Source: "environment"})
			}
			for _, k := range made {
				out.Keys = append(out.Keys, answerKey(k))
			}
			for i, k := range out.Keys {
				if t, ok := used[k.Name]; ok {
					out.Keys[i].LastUsed = &t
				}
			}
			return &body[KeyList]{out}, nil
		})
	create := read("create-key", "/api/keys", "keys", "Make an API key", http.StatusForbidden, http.StatusConflict)
	create.Method, create.DefaultStatus = http.MethodPost, http.StatusCreated
	huma.Register(api, create, func(ctx context.Context, in *struct{ Body NewKeyRequest }) (*body[NewKeyAnswer], error) {
		if slices.ContainsFunc(s.keys, func(k ringKey) bool { return k.principal.Name == in.Body.Name }) {
			return nil, ide.Errorf(ide.Conflict, "There is an API key named %q.", in.Body.Name)
		}
		for _, pattern := range in.Body.Buckets {
			if _, err := path.Match(pattern, ""); err != nil {
				return nil, ide.Errorf(ide.ValidationFailed, "The request is not valid: buckets must be patterns with * and ?, and %q is none.", pattern)
			}
		}
		raw := make([]byte, 30)
		rand.Read(raw)
		secret := keyPrefix + base64.RawURLEncoding.EncodeToString(raw)
		k := ide.Key{Name: in.Body.Name, Role: in.Body.Role, Digest: digest(secret), CreatedAt: time.Now().UTC(),
			CreatedBy: ide.PrincipalOf(ctx).Name, Limits: in.Body.Limits}
		if err := s.deps.Store.AddKey(ctx, k); err != nil {
			return nil, err
		}
		return &body[NewKeyAnswer]{NewKeyAnswer{answerKey(k), secret}}, nil
	})
	remove := read("delete-key", "/api/keys/{id}", "keys", "Revoke an API key; every process refuses it from then on", http.StatusForbidden, http.StatusNotFound)
	remove.Method, remove.DefaultStatus = http.MethodDelete, http.StatusNoContent
	huma.Register(api, remove, func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"63" doc:"Name of the key" example:"course-1"`
	}) (*struct{}, error) {
		return nil, s.deps.Store.RemoveKey(ctx, in.ID)
	})
}
