package cli

import (
	"fmt"
	"io"

	"berth/functions"
)

// Differences shows what Swarm and Redis did not agree on.
func (g *Globals) Differences(list []functions.Difference, dry bool) error {
	if list == nil {
		list = []functions.Difference{}
	}
	return g.show(list, func(w io.Writer) {
		rows(w, "CONTAINER\tOWNER\tBUCKET\tSTATUS\tWHAT", func(row func(...any)) {
			for _, d := range list {
				row(d.Container, d.Owner, d.Bucket, d.Status, d.What)
			}
		})
		if dry {
			fmt.Fprintf(w, "%d would be brought back\n", len(list))
			return
		}
		fmt.Fprintf(w, "%d brought back\n", len(list))
	})
}
