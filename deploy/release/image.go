package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// Image is the control plane's image: the program and the CA bundle, as
// deploy/Dockerfile's target berth has them.
type Image struct {
	Tag          string // name:tag
	Architecture string // as Go names it
	Version      string
	Program      string // path
	Roots        string // path of a PEM file
}

// epoch is the time of everything in an image: what an image is does not depend
// on when it was made.
var epoch = time.Unix(0, 0).UTC()

// config of an image (github.com/opencontainers/image-spec, config.md), with
// the health check that Docker adds to it.
type config struct {
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Created      time.Time `json:"created"`
	Config       struct {
		Entrypoint   []string
		Env          []string
		ExposedPorts map[string]struct{}
		Labels       map[string]string
		Healthcheck  healthcheck
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	History []history `json:"history"`
}

type healthcheck struct {
	Test                           []string
	Interval, Timeout, StartPeriod time.Duration
	Retries                        int
}

type history struct {
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

// Write writes the archive that docker save would write of the image.
func (i Image) Write(w io.Writer) error {
	var layer bytes.Buffer
	if err := i.layer(&layer); err != nil {
		return err
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(layer.Bytes()))
	c := config{Architecture: i.Architecture, OS: "linux", Created: epoch, History: []history{{Created: epoch, CreatedBy: "make release"}}}
	c.Config.Entrypoint = []string{"/berth"}
	c.Config.Env = []string{"PATH=/"}
	c.Config.ExposedPorts = map[string]struct{}{"8080/tcp": {}}
	c.Config.Labels = map[string]string{"org.opencontainers.image.version": i.Version, "org.opencontainers.image.licenses": "Apache-2.0"}
	c.Config.Healthcheck = healthcheck{Test: []string{"CMD", "/berth", "health"}, Interval: 10 * time.Second, Timeout: 5 * time.Second, StartPeriod: time.Minute, Retries: 6}
	c.RootFS.Type, c.RootFS.DiffIDs = "layers", []string{"sha256:" + sum}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%x.json", sha256.Sum256(text))
	manifest, err := json.Marshal([]map[string]any{{"Config": name, "RepoTags": []string{i.Tag}, "Layers": []string{sum + "/layer.tar"}}})
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, f := range []struct {
		name string
		data []byte
	}{{sum + "/layer.tar", layer.Bytes()}, {name, text}, {"manifest.json", manifest}} {
		if err := add(out, f.name, 0o644, f.data); err != nil {
			return err
		}
	}
	return out.Close()
}

// layer writes the files of the image.
func (i Image) layer(w io.Writer) error {
	program, err := os.ReadFile(i.Program)
	if err != nil {
		return err
	}
	roots, err := os.ReadFile(i.Roots)
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, dir := range []string{"etc/", "etc/ssl/", "etc/ssl/certs/"} {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: epoch}); err != nil {
			return err
		}
	}
	if err := add(out, "etc/ssl/certs/ca-certificates.crt", 0o644, roots); err != nil {
		return err
	}
	if err := add(out, "berth", 0o755, program); err != nil {
		return err
	}
	return out.Close()
}

func add(out *tar.Writer, name string, mode int64, data []byte) error {
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)), ModTime: epoch}); err != nil {
		return err
	}
	_, err := out.Write(data)
	return err
}
