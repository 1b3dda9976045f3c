// Command store is the first process of the S3 server that `make up` brings for
// trying out: it reads its key from a Swarm secret, makes the one bucket, and
// becomes versitygw, which takes keys from its environment only.
//
//	store SECRET DATA BUCKET ADDRESS
//	store health ADDRESS     exit 0 if something listens there
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// accessKey is the public half of the one pair of keys.
const accessKey = "berth"

func main() {
	if err := run(os.Args[1:], syscall.Exec); err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

// run does not return where exec succeeds.
func run(args []string, exec func(string, []string, []string) error) error {
	switch {
	case len(args) == 2 && args[0] == "health":
		conn, err := net.DialTimeout("tcp", args[1], 2*time.Second)
		if err == nil {
			conn.Close()
		}
		return err
	case len(args) != 4:
		return errors.New("usage: store SECRET DATA BUCKET ADDRESS")
	}
	secret, data, bucket, address := args[0], args[1], args[2], args[3]
	text, err := os.ReadFile(secret)
	if err != nil {
		return err
	}
	key := strings.TrimSpace(string(text))
	if key == "" {
		return fmt.Errorf("%s is empty", secret)
	}
	if err := os.MkdirAll(filepath.Join(data, bucket), 0o755); err != nil {
		return err
	}
	env := append(os.Environ(), "ROOT_ACCESS_KEY="+accessKey, "ROOT_SECRET_KEY="+key)
	return exec("/versitygw", []string{"versitygw", "--port", address, "--quiet", "posix", data}, env)
}
