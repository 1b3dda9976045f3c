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
// save, and makes events of it: one of the files that are on the volume only, and
// of a save that fails for good, and one of all else. Each is told once, not at
// each save.
func (d *Deps) noteSave(ctx context.Context, c ide.Container, w ide.WorkspaceStatus) error {
	if err := d.noteUnsaved(ctx, c, w); err != nil {
		return err
	}
	if len(w.Notes) == 0 && c.Told == "" {
		return nil
	}
	digest := digestOf(w.Notes)
	message := fmt.Sprintf("Of the workspace's last save: %s.", strings.Join(w.Notes, "; "))
	return d.Store.Note(ctx, c.ID, "container.workspace", message, func(rec *ide.Container) bool {
		if rec.Run != c.Run {
			return false
		}
		news := digest != "" && digest != rec.Told
		rec.Told = digest
		return news
	})
}

// noteUnsaved tells of what the last save has not saved.
func (d *Deps) noteUnsaved(ctx context.Context, c ide.Container, w ide.WorkspaceStatus) error {
	var said []string
	if len(w.LeftOut) > 0 {
		said = append(said, fmt.Sprintf("These files are not in the bucket, or not in their newest state; they are on the container's volume only, which a stop keeps: %s.", strings.Join(w.LeftOut, "; ")))
	}
	if s := w.LastSave; s != nil && s.Error != nil && (s.Error.Permanent || w.Lost) {
		said = append(said, "Nothing more is saved. "+s.Error.Message)
	}
	digest := digestOf(said)
	return d.Store.Note(ctx, c.ID, "container.left_out", strings.Join(said, " "), func(rec *ide.Container) bool {
		if rec.Run != c.Run {
			return false
		}
		if w.LastSave != nil {
			last := *w.LastSave
			last.Verified = rec.LastSave != nil && rec.LastSave.Verified && rec.LastSave.Generation == last.Generation
			rec.LastSave = &last
		}
		news := digest != "" && digest != rec.ToldLeftOut
		rec.ToldLeftOut = digest
		return news
	})
}

// digestOf tells lists of sentences apart; "" is the empty one.
func digestOf(said []string) string {
	if len(said) == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(said, "\n")))
	return hex.EncodeToString(sum[:8])
}
