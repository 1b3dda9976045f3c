// Command compose reads compose files as `docker compose config` does, with
// the same library: it lays them over each other, fills in variables and checks
// the result against the specification. It prints nothing but what is wrong.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/sirupsen/logrus"
)

func main() {
	logrus.SetLevel(logrus.ErrorLevel) // older clients want the version that it warns of
	options, err := cli.NewProjectOptions(os.Args[1:], cli.WithOsEnv, cli.WithName("berth"))
	if err == nil {
		_, err = options.LoadProject(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compose:", err)
		os.Exit(1)
	}
}
