package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// contents of an archive, by name.
func contents(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for in := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := in.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(epoch) || h.Uid != 0 || h.Typeflag == tar.TypeDir && h.Mode != 0o755 {
			t.Errorf("%s is of %s, owner %d, mode %o", h.Name, h.ModTime, h.Uid, h.Mode)
		}
		files[h.Name] = data
	}
}

func TestImage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"berth": "a program", "ca": "a bundle"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	i := Image{Tag: "berth:v9", Architecture: "arm64", Version: "v9", Program: filepath.Join(dir, "berth"), Roots: filepath.Join(dir, "ca")}
	var first, second bytes.Buffer
	for _, w := range []io.Writer{&first, &second} {
		if err := i.Write(w); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same content makes two images")
	}
	files := contents(t, first.Bytes())
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	var c config
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 1 || manifest[0].RepoTags[0] != "berth:v9" {
		t.Fatalf("manifest: %s, %v", files["manifest.json"], err)
	}
	if err := json.Unmarshal(files[manifest[0].Config], &c); err != nil || c.Architecture != "arm64" || c.Config.Entrypoint[0] != "/berth" || c.Config.Healthcheck.Retries == 0 {
		t.Errorf("config: %s, %v", files[manifest[0].Config], err)
	}
	layer := files[manifest[0].Layers[0]]
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(layer)); got != c.RootFS.DiffIDs[0] {
		t.Errorf("the layer is %s, the config says %s", got, c.RootFS.DiffIDs[0])
	}
	inside := contents(t, layer)
	if string(inside["berth"]) != "a program" || string(inside["etc/ssl/certs/ca-certificates.crt"]) != "a bundle" {
		t.Errorf("the layer has %q", inside)
	}
}

func TestChecksumsAreReadBySha256sum(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checksums(dir); err != nil {
		t.Fatal(err)
	}
	check := func() (string, error) {
		cmd := exec.Command("sha256sum", "-c", "SHA256SUMS")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := check(); err != nil || strings.TrimSpace(out) != "a: OK" {
		t.Errorf("got %q, %v", out, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("y"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := check(); err == nil {
		t.Errorf("a changed file passes: %s", out)
	}
}

func TestProgramsThatNeedLibrariesAreRefused(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash in PATH, which is a program with libraries")
	}
	if err := static(shell); err == nil || !strings.Contains(err.Error(), "not static") {
		t.Errorf("got %v", err)
	}
	if err := static(os.DevNull); err == nil {
		t.Error("what is no program is static")
	}
}
