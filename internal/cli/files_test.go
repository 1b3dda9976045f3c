package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFileIsWholeOrAsItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "backup")
	write := func(text string, err error) error {
		return WriteFile(name, nil, func(w io.Writer) error {
			_, werr := io.WriteString(w, text)
			return errors.Join(err, werr)
		})
	}
	if err := write("first", nil); err != nil {
		t.Fatal(err)
	}
	if err := write("sec", io.ErrClosedPipe); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want what went wrong", err)
	}
	got, err := os.ReadFile(name)
	if err != nil || string(got) != "first" {
		t.Errorf("after a failure there is %q, %v", got, err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("the folder has %v, %v", left, err)
	}
}

func TestDashIsInputAndOutput(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := WriteFile("-", &out, func(w io.Writer) error { _, err := io.WriteString(w, "text"); return err }); err != nil || out.String() != "text" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	err := ReadFile("-", io.MultiReader(strings.NewReader("te"), &out), func(r io.ReadSeeker) error {
		for range 2 {
			if _, err := r.Seek(0, io.SeekStart); err != nil {
				return err
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != "tetext" {
				t.Errorf("got %q, %v", got, err)
			}
		}
		return io.ErrNoProgress
	})
	if !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v, want the reader's error", err)
	}
	if err := ReadFile(filepath.Join(t.TempDir(), "none"), nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
}
