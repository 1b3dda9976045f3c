package swarm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"berth/internal/ide"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// pullSilence is how long a registry may say nothing before it is given up.
const pullSilence = 30 * time.Second

// PullImage has this engine fetch an image from its registry, which is asked
// without credentials. An error says that the registry does not give it.
func (c *Client) PullImage(ctx context.Context, name string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silent := time.AfterFunc(pullSilence, cancel)
	defer silent.Stop()
	body, err := c.docker.ImagePull(ctx, name, image.PullOptions{})
	if err != nil {
		return classify("pull image", err)
	}
	defer body.Close()
	return told("pull image", body, func() { silent.Reset(pullSilence) })
}

// told reads what the engine says of its work, line by line, and returns the
// error that is among it.
func told(doing string, body io.Reader, heard func()) error {
	for dec := json.NewDecoder(body); ; heard() {
		var line struct {
			Error string `json:"error"`
		}
		err := dec.Decode(&line)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return classify(doing, err)
		case line.Error != "":
			return classify(doing, errors.New(line.Error))
		}
	}
}

// SaveImage returns an image of this engine as a tar stream (docker save).
func (c *Client) SaveImage(ctx context.Context, name string) (io.ReadCloser, error) {
	body, err := c.docker.ImageSave(ctx, []string{name})
	if client.IsErrNotFound(err) {
		return nil, ide.Errorf(ide.NotFound, "The image %s is not on this node.", name)
	}
	if err != nil {
		return nil, classify("save image", err)
	}
	return body, nil
}

// LoadImage gives this engine the images of a tar stream (docker load).
func (c *Client) LoadImage(ctx context.Context, tar io.Reader) error {
	res, err := c.docker.ImageLoad(ctx, tar, client.ImageLoadWithQuiet(true))
	if err != nil {
		return classify("load image", fmt.Errorf("send: %w", err))
	}
	defer res.Body.Close()
	if !res.JSON {
		_, err := io.Copy(io.Discard, res.Body)
		if err != nil {
			err = classify("load image", err)
		}
		return err
	}
	return told("load image", res.Body, func() {})
}
