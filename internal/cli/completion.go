package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"berth/openapi"

	"github.com/posener/complete"
)

// completions ask the program itself what fits: with COMP_LINE in its
// environment it prints that and does nothing else.
var completions = map[string]string{
	"bash": "complete -C berth berth\n",
	"zsh":  "autoload -U +X bashcompinit && bashcompinit\ncomplete -C berth berth\n",
	"fish": `function __complete_berth
    set -lx COMP_LINE (commandline -cp)
    test -z (commandline -ct)
    and set COMP_LINE "$COMP_LINE "
    berth
end
complete -f -c berth -a "(__complete_berth)"
`,
}

// Completion prints a shell's part of completing command lines.
type Completion struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish: source <(berth completion bash), or berth completion fish | source."`
}

// Run implements the command.
func (c Completion) Run(g *Globals) error {
	_, err := fmt.Fprint(g.out, completions[c.Shell])
	return err
}

// predictPatience is how long a shell waits for what fits.
const predictPatience = 2 * time.Second

// Predictors ask the API for what fits: the IDs of containers and of jobs. When it
// does not answer nothing fits.
func Predictors(ctx context.Context, vars map[string]string) map[string]complete.Predictor {
	ask := func(path string, answer any) {
		ctx, cancel := context.WithTimeout(ctx, predictPatience)
		defer cancel()
		g := &Globals{}
		g.Bind(ctx, vars, io.Discard, io.Discard)
		_ = g.call(http.MethodGet, path, url.Values{"limit": {"200"}}, nil, answer)
	}
	return map[string]complete.Predictor{
		"container": complete.PredictFunc(func(complete.Args) (ids []string) {
			var l openapi.ContainerList
			ask("/api/containers", &l)
			for _, c := range l.Containers {
				ids = append(ids, c.ID)
			}
			return ids
		}),
		"job": complete.PredictFunc(func(complete.Args) (ids []string) {
			var l openapi.JobList
			ask("/api/jobs", &l)
			for _, j := range l.Jobs {
				ids = append(ids, j.ID)
			}
			return ids
		}),
	}
}
