package openapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// extent says of how much a role may ask for an operation.
type extent string

const (
	nothing extent = "no"
	its     extent = "its own"
	all     extent = "all"
)

// grant is what each role may do of an operation.
type grant struct{ admin, client, viewer extent }

func (g grant) of(r ide.Role) extent {
	switch r {
	case ide.Admin:
		return g.admin
	case ide.Client:
		return g.client
	case ide.Viewer:
		return g.viewer
	}
	return nothing
}

// The five kinds of operations.
var (
	anybody = grant{all, all, all}         // tells nothing of anybody
	look    = grant{all, its, all}         // looks at what has an owner
	change  = grant{all, its, nothing}     // changes it, or tells its secrets
	fleet   = grant{all, nothing, all}     // looks at the machines and at the whole
	operate = grant{all, nothing, nothing} // changes those, or tells their secrets
)

// roles is the one table of who may ask for what, by operation. What is not here
// is refused.
var roles = map[string]grant{
	"check-container": anybody, "list-templates": anybody, "get-session": anybody, "delete-session": anybody,

	"list-containers": look, "get-container": look, "get-container-events": look, "list-generations": look, "get-container-logs": look,
	"get-container-usage": look, "list-jobs": look, "get-job": look, "stream-events": look, "stream-dashboard": look,
	"list-webhooks": look, "get-webhook": look, "list-webhook-deliveries": look,

	"container-create": change, "container-start": change, "container-stop": change, "container-restart": change, "container-move": change,
	"container-probe": change, "container-save": change, "container-restore": change, "keep-container-alive": change,
	"act-on-container": change, "containers-action": change, "cancel-job": change, "retry-job": change,
	"create-webhook": change, "delete-webhook": change, "redeliver-webhook": change, "rotate-webhook": change,
	"get-container-credentials": change,

	"get-overview": fleet, "list-nodes": fleet, "get-node": fleet, "get-usage": fleet, "get-node-usage": fleet, "stream-logs": fleet,
	"get-metrics": fleet, "list-schedules": fleet, "get-schedule": fleet, "list-keys": fleet,

	"node-drain": operate, "node-activate": operate, "node-labels": operate, "node-remove": operate, "get-join-token": operate,
	"run-schedule": operate, "pause-schedule": operate, "resume-schedule": operate, "create-key": operate, "delete-key": operate,
}

// mayAsk refuses an operation that is not for a caller's role.
func mayAsk(op *huma.Operation, p ide.Principal) error {
	g := roles[op.OperationID]
	switch {
	case len(op.Security) == 0 || g.of(p.Role) != nothing && g.of(p.Role) != "":
		return nil
	case p.Role == ide.Viewer && op.OperationID == "get-container-credentials":
		return ide.Errorf(ide.Forbidden, "A viewer's key does not see passwords.")
	case p.Role == ide.Viewer && op.Method != http.MethodGet:
		return ide.Errorf(ide.Forbidden, "A viewer's key changes nothing.")
	case g == fleet:
		return ide.Errorf(ide.Forbidden, "This needs an admin's or a viewer's key.")
	}
	return ide.Errorf(ide.Forbidden, "This needs an admin's key.")
}

// roleTable is the table as docs/API.md has it.
func roleTable() string {
	kinds := []struct {
		what string
		g    grant
	}{
		{"look at what has an owner", look}, {"change it, or see its passwords", change}, {"look at the whole: nodes, use, schedules, keys without their secrets", fleet},
		{"change that, or see a token to join", operate}, {"what is nobody's", anybody},
	}
	var b strings.Builder
	b.WriteString("| | operations | admin | client | viewer |\n|---|---|---|---|---|\n")
	for _, k := range kinds {
		var ids []string
		for id, g := range roles {
			if g == k.g {
				ids = append(ids, "`"+id+"`")
			}
		}
		slices.Sort(ids)
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", k.what, strings.Join(ids, ", "), k.g.admin, k.g.client, k.g.viewer)
	}
	return b.String()
}
