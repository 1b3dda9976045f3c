package cli

import "fmt"

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
