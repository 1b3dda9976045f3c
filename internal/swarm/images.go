package swarm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
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

// registryPatience is how long a registry may take to say whether it has an image.
const registryPatience = 5 * time.Second

// registryTrouble asks the registry of an image that a node lacks, for Swarm does not
// pass on why it could not be pulled. It is nil where the registry has the image, or
// says or has nobody to say that there is none, and an error that may pass where the
// registry is overloaded, broken or silent.
func (c *Client) registryTrouble(ctx context.Context, ref string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), registryPatience)
	defer cancel()
	_, err := c.docker.DistributionInspect(ctx, ref, "")
	if err == nil || !passing(ctx, err) {
		return nil
	}
	return &ide.Error{Code: ide.ContainerStartFailed, Message: fmt.Sprintf("The image %s is not on the node, and its registry does not answer as it should.", ref),
		Err: fmt.Errorf("%w: ask registry: %w", ErrTaskEnded, err)}
}

// passing recognises what a registry that has no verdict says, which the engine
// passes on as text with a status of its own.
func passing(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	said := strings.ToLower(err.Error())
	for _, word := range []string{"toomanyrequests", "too many requests", "status: 429", "status code 429", "status: 50", "status code 50", "service unavailable", "bad gateway",
		"internal server error", "gateway time", "received unexpected http status: 5", "timeout", "timed out", "deadline exceeded", "awaiting headers", "connection reset", "unexpected eof", "server misbehaving"} {
		if strings.Contains(said, word) {
			return true
		}
	}
	return strings.Contains(said, "connection refused") && !strings.Contains(said, "://localhost") && !strings.Contains(said, "127.0.0.1") && !strings.Contains(said, "[::1]")
}
