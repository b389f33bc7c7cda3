// SPDX-License-Identifier: Apache-2.0

// Package conformance runs containerd's own snapshotter suite, and tests for
// what that suite leaves out, against a running daxfs-grpc. tests/conformance/run
// starts one and says where in DAXFS_ADDRESS.
package conformance

import (
	"context"
	"os"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/proxy"
	"github.com/containerd/containerd/snapshots/testsuite"
	"google.golang.org/grpc"
)

// dial connects as containerd does for a proxy plugin.
func dial(ctx context.Context) (*grpc.ClientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return grpc.DialContext(ctx, "unix://"+os.Getenv("DAXFS_ADDRESS"),
		grpc.WithInsecure(), grpc.WithBlock(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
}

func newSnapshotter(ctx context.Context, root string) (snapshots.Snapshotter, func() error, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	sn := proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), "daxfs")
	return sn, conn.Close, nil
}

func TestMain(m *testing.M) {
	if os.Getenv("DAXFS_ADDRESS") == "" {
		println("DAXFS_ADDRESS is not set: start this test with tests/conformance/run")
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// The suite's snapshots have fixed names: it wants a daemon of its own.
func TestSuite(t *testing.T) {
	testsuite.SnapshotterSuite(t, "daxfs", newSnapshotter)
}
