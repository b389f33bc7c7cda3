// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sort"
	"sync"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/proxy"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

const (
	atOnce = 16   // calls in the concurrent lines
	small  = 4096 // bytes
)

type client struct {
	name  string
	conn  *grpc.ClientConn
	sn    snapshots.Snapshotter
	raw   snapshotsapi.SnapshotsClient
	times map[string][]time.Duration
}

func newClient(name, socket string) (*client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := grpc.DialContext(ctx, "unix://"+socket, grpc.WithInsecure(), grpc.WithBlock())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", socket, err)
	}
	raw := snapshotsapi.NewSnapshotsClient(conn)
	return &client{name, conn, proxy.NewSnapshotter(raw, name), raw, map[string][]time.Duration{}}, nil
}

type bench struct {
	rounds  int
	dir     string // of the data
	clients []*client
	order   []string // operations, as they first came
}

// time runs fn and keeps how long it took.
func (b *bench) time(c *client, op string, fn func() error) error {
	start := time.Now()
	err := fn()
	took := time.Since(start)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", c.name, op, err)
	}
	known := false
	for _, o := range b.order {
		known = known || o == op
	}
	if !known {
		b.order = append(b.order, op)
	}
	c.times[op] = append(c.times[op], took)
	return nil
}

// fill writes n files of size bytes below dir.
func fill(dir string, n, size int) error {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i * 7)
	}
	for i := 0; i < n; i++ {
		if err := os.WriteFile(fmt.Sprintf("%s/f%d", dir, i), data, 0644); err != nil {
			return err
		}
	}
	return nil
}

// layer prepares key on parent, fills it, commits it to name; the commit is
// timed as op unless that is empty. durable: with a syncfs before it, which is
// what takes overlayfs's files to the disk.
func (b *bench) layer(c *client, op, name, parent string, files, size int, durable bool) error {
	ctx, key := context.Background(), name+"-active"
	m, err := c.sn.Prepare(ctx, key, parent)
	if err != nil {
		return err
	}
	var sync time.Duration
	err = mount.WithTempMount(ctx, m, func(dir string) error {
		if err := fill(dir, files, size); err != nil || !durable {
			return err
		}
		start := time.Now()
		err := syncfs(dir)
		sync = time.Since(start)
		return err
	})
	if err != nil {
		return err
	}
	commit := func() error { return c.sn.Commit(ctx, name, key) }
	if op == "" {
		return commit()
	}
	if err := b.time(c, op, commit); err != nil {
		return err
	}
	c.times[op][len(c.times[op])-1] += sync
	return nil
}

func syncfs(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// container is what a container's start and end ask for.
func (b *bench) container(c *client, round int) error {
	ctx, key := context.Background(), fmt.Sprintf("c%d", round)
	for _, step := range []struct {
		op string
		fn func() error
	}{
		{"Prepare", func() error { _, err := c.sn.Prepare(ctx, key, "base"); return err }},
		{"Mounts", func() error { _, err := c.sn.Mounts(ctx, key); return err }},
		{"Stat", func() error { _, err := c.sn.Stat(ctx, key); return err }},
		{"Usage, active", func() error { _, err := c.sn.Usage(ctx, key); return err }},
		{"Update", func() error {
			_, err := c.sn.Update(ctx, snapshots.Info{Name: key, Labels: map[string]string{"a": "b"}}, "labels.a")
			return err
		}},
		{"Remove", func() error { return c.sn.Remove(ctx, key) }},
		{"View", func() error { _, err := c.sn.View(ctx, key, "base"); return err }},
		{"Remove of a view", func() error { return c.sn.Remove(ctx, key) }},
	} {
		if err := b.time(c, step.op, step.fn); err != nil {
			return err
		}
	}
	return nil
}

// layers commits little and much, and removes it again.
func (b *bench) layers(c *client, round int) error {
	ctx := context.Background()
	for _, l := range []struct {
		what        string
		files, size int
		durable     bool
	}{
		{"nothing", 0, 0, false},
		{"100 files", 100, small, false},
		{"100 files, on disk", 100, small, true},
		{"64 MiB, on disk", 64, 1 << 20, true},
	} {
		name := fmt.Sprintf("l%d-%s", round, l.what)
		if err := b.layer(c, "Commit of "+l.what, name, "base", l.files, l.size, l.durable); err != nil {
			return err
		}
		if l.durable {
			if err := c.sn.Remove(ctx, name); err != nil {
				return err
			}
			continue
		}
		err := b.time(c, "Remove of "+l.what, func() error { return c.sn.Remove(ctx, name) })
		if err != nil {
			return err
		}
	}
	return nil
}

// together times n calls that are made at the same time.
func (b *bench) together(c *client, op string, fn func(i int) error) error {
	return b.time(c, op, func() error {
		var wg sync.WaitGroup
		errs := make(chan error, atOnce)
		for i := 0; i < atOnce; i++ {
			wg.Add(1)
			go func(i int) {
				defer wg.Done()
				errs <- fn(i)
			}(i)
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bench) crowd(c *client, round int) error {
	ctx := context.Background()
	key := func(i int) string { return fmt.Sprintf("p%d-%d", round, i) }
	err := b.together(c, fmt.Sprintf("%d × Prepare at once", atOnce), func(i int) error {
		_, err := c.sn.Prepare(ctx, key(i), "base")
		return err
	})
	if err != nil {
		return err
	}
	return b.together(c, fmt.Sprintf("%d × Remove at once", atOnce), func(i int) error {
		return c.sn.Remove(ctx, key(i))
	})
}

// settle has what was removed freed, and all that is written on disk: else the
// next one's first sync would wait for the last one's files, for the file
// system's journal is common.
func (b *bench) settle() error {
	for _, c := range b.clients {
		// overlayfs may not know it
		c.raw.Cleanup(context.Background(), &snapshotsapi.CleanupRequest{Snapshotter: c.name})
	}
	return syncfs(b.dir)
}

func (b *bench) each(rounds int, fn func(*client, int) error) error {
	for i := 0; i < rounds; i++ {
		for _, c := range b.clients {
			if err := b.settle(); err != nil {
				return err
			}
			if err := fn(c, i); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) run() error {
	for _, c := range b.clients {
		if err := b.layer(c, "", "base", "", 200, small, false); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if err := b.each(b.rounds, b.container); err != nil {
		return err
	}
	if err := b.each((b.rounds+3)/4, b.layers); err != nil {
		return err
	}
	return b.each((b.rounds+7)/8, b.crowd)
}

func at(sorted []time.Duration, part float64) time.Duration {
	return sorted[int(part*float64(len(sorted)-1)+0.5)]
}

func (b *bench) print(w io.Writer) {
	last := b.clients[len(b.clients)-1]
	fmt.Fprintf(w, "%-30s", "microseconds")
	for _, c := range b.clients {
		fmt.Fprintf(w, " %12s %9s", c.name, "p99")
	}
	for _, c := range b.clients[:len(b.clients)-1] {
		fmt.Fprintf(w, "  %s/%s", c.name, last.name)
	}
	fmt.Fprintln(w)
	for _, op := range b.order {
		fmt.Fprintf(w, "%-30s", op)
		for _, c := range b.clients {
			t := c.times[op]
			sort.Slice(t, func(i, j int) bool { return t[i] < t[j] })
			fmt.Fprintf(w, " %12d %9d", at(t, 0.5).Microseconds(), at(t, 0.99).Microseconds())
		}
		for _, c := range b.clients[:len(b.clients)-1] {
			ratio := float64(at(c.times[op], 0.5)) / float64(at(last.times[op], 0.5))
			fmt.Fprintf(w, "  %*.2f", len(c.name)+1+len(last.name), ratio)
		}
		fmt.Fprintln(w)
	}
}
