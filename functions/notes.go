package functions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"berth/internal/ide"
)

// noteSave writes in a container's record what its agent says of the latest
// save, and makes an event of what the save had to leave out: once, not at each
// save. A save that fails for good is told of, too.
func (d *Deps) noteSave(ctx context.Context, c ide.Container, w ide.WorkspaceStatus) error {
	said := append([]string{}, w.Notes...)
	if s := w.LastSave; s != nil && s.Error != nil && (s.Error.Permanent || w.Lost) {
		said = append(said, "Nothing more is saved. "+s.Error.Message)
	}
	digest := ""
	if len(said) > 0 {
		sum := sha256.Sum256([]byte(strings.Join(said, "\n")))
		digest = hex.EncodeToString(sum[:8])
	}
	message := fmt.Sprintf("Not all of the workspace is in its bucket as it is here: %s", strings.Join(said, "; "))
	return d.Store.Note(ctx, c.ID, "container.workspace", message, func(rec *ide.Container) bool {
		if rec.Run != c.Run {
			return false
		}
		if w.LastSave != nil {
			last := *w.LastSave
			last.Verified = rec.LastSave != nil && rec.LastSave.Verified && rec.LastSave.Generation == last.Generation
			rec.LastSave = &last
		}
		news := digest != "" && digest != rec.Told
		rec.Told = digest
		return news
	})
}
