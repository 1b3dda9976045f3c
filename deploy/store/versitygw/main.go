// Command versitygw is github.com/versity/versitygw's S3 server with the one
// backend that Berth uses, a folder. Its own command also compiles the clients
// of Azure and of other stores, which takes longer than all of Berth. This one
// takes the same arguments and environment:
//
//	ROOT_ACCESS_KEY=… ROOT_SECRET_KEY=… versitygw --port ADDRESS [--iam-dir DIR] [--keep-alive] [--quiet] posix DIR
//
// Each folder of DIR is a bucket.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "versitygw:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. The limits are the defaults of versitygw's command.
func run(ctx context.Context, args []string) error {
	cfg := &embedgw.Config{
		RootUserAccess: os.Getenv("ROOT_ACCESS_KEY"), RootUserSecret: os.Getenv("ROOT_SECRET_KEY"),
		MaxConnections: 250_000, MaxRequests: 100_000, MultipartMaxParts: 10_000, IAMCacheTTL: 120, IAMCachePrune: 3600,
	}
	flags := flag.NewFlagSet("versitygw", flag.ContinueOnError)
	port := flags.String("port", ":7070", "address to listen on")
	flags.StringVar(&cfg.IAMDir, "iam-dir", "", "folder of the users; empty: the root user only")
	flags.BoolVar(&cfg.KeepAlive, "keep-alive", false, "keep connections open between requests")
	flags.BoolVar(&cfg.Quiet, "quiet", false, "log no requests")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 2 || flags.Arg(0) != "posix" {
		return errors.New("usage: versitygw [flags] posix DIR")
	}
	cfg.Ports = []string{*port}
	be, err := posix.New(flags.Arg(1), meta.XattrMeta{}, posix.PosixOpts{CopyObjectThreshold: 5 << 30})
	if err != nil {
		return err
	}
	return embedgw.RunVersityGW(ctx, be, cfg)
}
