package openapi

import (
	"context"
	"fmt"
	"net/http"

	"berth/functions"
	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// JoinAnswer is what a machine needs to become a node. It is not cached, not
// logged and not in any other answer.
type JoinAnswer struct {
	Role    string `json:"role" enum:"worker,manager" doc:"What the machine becomes"`
	Token   string `json:"token" example:"SWMTKN-1-49nj1cmql0jkz5s954yi3oex3nedyz0fb0xx14ie39trti4wxv-8vxv8rssmk743ojnwacrr2e7c" doc:"Lets any machine in that has it: a secret"`
	Command string `json:"command" example:"docker swarm join --token SWMTKN-1-49nj1cmql0jkz5s954yi3oex3nedyz0fb0xx14ie39trti4wxv-8vxv8rssmk743ojnwacrr2e7c 192.0.2.11:2377" doc:"To be run on the machine"`
}

type joinInput struct {
	Role string `query:"role" enum:"worker,manager" default:"worker" doc:"What the machine is to become"`
}

type nodeInput struct {
	ID string `path:"id" maxLength:"64" example:"x8vlm0vmpo1jg5yk4zo2dgpyh" doc:"Engine ID of the node, or its name where no other has it"`
}

// nodes serves single nodes, for admins. What changes them are functions.
func (s *server) nodes(api huma.API) {
	huma.Register(api, read("get-node", "/api/nodes/{id}", "nodes", "Get a node", http.StatusForbidden, http.StatusNotFound),
		func(ctx context.Context, in *nodeInput) (*body[NodeRow], error) {
			n, err := functions.Node(ctx, s.deps, in.ID)
			if err != nil {
				return nil, err
			}
			list, err := s.buildNodes(ctx)
			if err != nil {
				return nil, err
			}
			for _, row := range list.Nodes {
				if row.ID == n.ID {
					return &body[NodeRow]{row}, nil
				}
			}
			return nil, ide.Errorf(ide.NotFound, "There is no node %q.", in.ID)
		})
	huma.Register(api, read("get-join-token", "/api/nodes/join-token", "nodes", "What a machine needs to join the Swarm", http.StatusForbidden),
		func(ctx context.Context, in *joinInput) (*body[JoinAnswer], error) {
			j, err := functions.JoinTokens(ctx, s.deps)
			if err != nil {
				return nil, err
			}
			token := j.Worker
			if in.Role == "manager" {
				token = j.Manager
			}
			return &body[JoinAnswer]{JoinAnswer{Role: in.Role, Token: token, Command: fmt.Sprintf("docker swarm join --token %s %s", token, j.Address)}}, nil
		})
}
