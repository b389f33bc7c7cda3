// SPDX-License-Identifier: Apache-2.0

// Command bench times calls to snapshotters over gRPC on unix sockets, one call
// to each in turn, and prints medians, 99th percentiles and ratios to the last.
// It also serves containerd's overlayfs snapshotter, to compare with. Started by
// bench/snapshotter/run.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/contrib/snapshotservice"
	"github.com/containerd/containerd/snapshots/overlay"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

const usage = `usage: bench serve ROOT SOCKET       containerd's overlayfs snapshotter
       bench measure ROUNDS DIR NAME=SOCKET...   one round of calls to each in
           turn; their data are below DIR
`

func serve(root, socket string) error {
	sn, err := overlay.NewSnapshotter(root)
	if err != nil {
		return err
	}
	defer sn.Close()
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(s, snapshotservice.FromSnapshotter(sn))
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	go func() {
		<-ctx.Done()
		s.GracefulStop()
	}()
	return s.Serve(l)
}

func measure(rounds, dir string, targets []string) error {
	n, err := strconv.Atoi(rounds)
	if err != nil || n < 1 {
		return fmt.Errorf("'%s': not a number of rounds", rounds)
	}
	b := &bench{rounds: n, dir: dir}
	for _, t := range targets {
		name, socket, ok := strings.Cut(t, "=")
		if !ok {
			return fmt.Errorf("'%s': not NAME=SOCKET", t)
		}
		c, err := newClient(name, socket)
		if err != nil {
			return err
		}
		defer c.conn.Close()
		b.clients = append(b.clients, c)
	}
	if err := b.run(); err != nil {
		return err
	}
	b.print(os.Stdout)
	return nil
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "serve":
		return serve(args[1], args[2])
	case len(args) >= 4 && args[0] == "measure":
		return measure(args[1], args[2], args[3:])
	}
	return errors.New(usage)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, strings.TrimSuffix(err.Error(), "\n"))
		os.Exit(1)
	}
}
