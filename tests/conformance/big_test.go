// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
)

// Many snapshots, large ones, slow readers: what must not hold the others up.
// Times are compared with each other, generously: the machine has other work.
func TestBig(t *testing.T) {
	for _, tc := range []struct {
		name string
		fn   func(*testing.T, *env)
	}{
		{"RemoveOfManyFiles", testRemoveMany},
		{"UsageOfManyFiles", testUsageMany},
		{"List100000", testListMany},
		{"StalledLists", testStalledLists},
		{"CallsMeanwhile", testMeanwhile},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.fn(t, newEnv(t)) })
	}
}

const manySnapshots = 100000

func median(d []time.Duration) time.Duration {
	s := append([]time.Duration(nil), d...)
	sort.Slice(s, func(i, j int) bool { return s[i] < s[j] })
	return s[len(s)/2]
}

func least(d []time.Duration) time.Duration {
	m := d[0]
	for _, x := range d {
		if x < m {
			m = x
		}
	}
	return m
}

func timed(t *testing.T, fn func() error) time.Duration {
	t.Helper()
	start := time.Now()
	check(t, fn())
	return time.Since(start)
}

func (e *env) cleanup(t *testing.T) {
	t.Helper()
	_, err := e.client.Cleanup(e.ctx, &snapshotsapi.CleanupRequest{Snapshotter: "daxfs"})
	check(t, err)
}

// fileTree makes n files, a hundred a folder.
func fileTree(t *testing.T, dir string, n int) {
	t.Helper()
	for i := 0; i < n; i++ {
		d := fmt.Sprintf("%s/d%d", dir, i/100)
		if i%100 == 0 {
			check(t, os.Mkdir(d, 0755))
		}
		check(t, os.WriteFile(fmt.Sprintf("%s/%d", d, i), []byte("x"), 0644))
	}
}

// Remove answers before anything is freed: what a snapshot has does not matter.
// The least of a few is compared, for a hiccup makes a time longer, not shorter.
func testRemoveMany(t *testing.T, e *env) {
	const files = 7000
	var full, empty, freed []time.Duration
	for i := 0; i < 3; i++ {
		with(t, e.prepare(t, fmt.Sprintf("full%d", i), ""), func(dir string) { fileTree(t, dir, files) })
		e.prepare(t, fmt.Sprintf("empty%d", i), "")
	}
	for i := 0; i < 3; i++ {
		e.cleanup(t)
		empty = append(empty, timed(t, func() error { return e.rawRemove(e.name(fmt.Sprintf("empty%d", i))) }))
		e.cleanup(t)
		full = append(full, timed(t, func() error { return e.rawRemove(e.name(fmt.Sprintf("full%d", i))) }))
		freed = append(freed, timed(t, func() error { e.cleanup(t); return nil }))
	}
	t.Logf("Remove: empty %v, of %d files %v; freeing these %v", least(empty), files, least(full), least(freed))
	if least(full) > 10*least(empty) && least(full) > least(freed)/2 {
		t.Errorf("Remove of %d files takes %v, of none %v", files, least(full), least(empty))
	}
}

// Usage is asked for every container every ten seconds.
func testUsageMany(t *testing.T, e *env) {
	const files = 5000
	var full, empty []time.Duration
	e.prepare(t, "empty", "")
	with(t, e.prepare(t, "full", ""), func(dir string) {
		fileTree(t, dir, files)
		for i := 0; i < 50; i++ {
			empty = append(empty, timed(t, func() error { return e.rawUsage(e.name("empty")) }))
			full = append(full, timed(t, func() error { return e.rawUsage(e.name("full")) }))
		}
		if _, inodes := e.usage(t, "full"); inodes < files {
			t.Errorf("%d inodes", inodes)
		}
	})
	t.Logf("Usage: empty %v, of %d files %v", median(empty), files, median(full))
	if median(full) > 10*median(empty) {
		t.Errorf("Usage of %d files takes %v, of none %v", files, median(full), median(empty))
	}
}

// ---- 100,000 snapshots -------------------------------------------------------

func manyName(i int) string { return fmt.Sprintf("many/%06d", i) }

// makeMany writes rows, as if so many chains had been adopted: all of them stand
// on one branch. Through the service it would take minutes.
func (e *env) makeMany(t *testing.T) {
	t.Helper()
	if e.manyThere() {
		return
	}
	check(t, e.rawPrepare("many-base-active", "", nil))
	check(t, e.rawCommit("many-base", "many-base-active"))
	sql := fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d - 1)
		INSERT INTO snapshots (name, kind, state, branch, chain, labels, created, updated)
		SELECT printf('many/%%06d', i), 3, 2, b.branch, 'chain-' || i,
			json_object('containerd.io/snapshot.ref', 'chain-' || i, 'number', '' || i), b.created, b.created
		FROM n, snapshots b WHERE b.name = 'many-base'`, manySnapshots)
	out, err := exec.Command("sqlite3", "-cmd", ".timeout 20000",
		filepath.Join(os.Getenv("DAXFS_DIR"), "root/metadata.db"), sql).CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3: %v: %s", err, out)
	}
}

func (e *env) manyThere() bool {
	_, err := e.rawStat(manyName(0))
	return err == nil
}

// memory of a daemon in bytes: what it has, what it had at most.
func memory(t *testing.T, name string) (now, most int64) {
	t.Helper()
	b, err := os.ReadFile("/proc/" + daemon(t, name) + "/status")
	check(t, err)
	for _, line := range bytes.Split(b, []byte("\n")) {
		f := strings.Fields(string(line))
		if len(f) == 3 && (f[0] == "VmRSS:" || f[0] == "VmHWM:") {
			n, err := strconv.ParseInt(f[1], 10, 64)
			check(t, err)
			if f[0] == "VmRSS:" {
				now = n << 10
			} else {
				most = n << 10
			}
		}
	}
	return now, most
}

// daemon finds the process of this run: DAXFS_DIR is on its command line.
func daemon(t *testing.T, name string) string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	check(t, err)
	for _, dir := range all {
		comm, _ := os.ReadFile(dir + "/comm")
		line, _ := os.ReadFile(dir + "/cmdline")
		// comm is cut after 15 letters
		if strings.HasPrefix(name, strings.TrimSpace(string(comm))) && len(comm) > 1 &&
			bytes.Contains(line, []byte(os.Getenv("DAXFS_DIR")+"/")) {
			return filepath.Base(dir)
		}
	}
	t.Fatalf("%s does not run", name)
	return ""
}

func testListMany(t *testing.T, e *env) {
	const spare = 24 << 20
	e.makeMany(t)
	before := map[string]int64{}
	for _, d := range []string{"daxfs-snapshotter", "daxfs-grpc"} {
		check(t, os.WriteFile("/proc/"+daemon(t, d)+"/clear_refs", []byte("5"), 0)) // VmHWM begins anew
		before[d], _ = memory(t, d)
	}
	stream, err := e.client.List(e.ctx, &snapshotsapi.ListSnapshotsRequest{})
	check(t, err)
	n, last := 0, ""
	for {
		r, err := stream.Recv()
		if err == io.EOF {
			break
		}
		check(t, err)
		if len(r.Info) > 100 {
			t.Fatalf("a batch of %d", len(r.Info))
		}
		for _, i := range r.Info {
			if i.Name <= last {
				t.Fatalf("%q after %q", i.Name, last)
			}
			last = i.Name
			if strings.HasPrefix(i.Name, "many/") {
				if i.Name != manyName(n) || i.Labels["number"] != strconv.Itoa(n) {
					t.Fatalf("number %d is %v", n, i)
				}
				n++
			}
		}
	}
	if n != manySnapshots {
		t.Errorf("%d snapshots of %d", n, manySnapshots)
	}
	for d, was := range before {
		_, most := memory(t, d)
		t.Logf("%s: %d KiB, at most %d KiB", d, was>>10, most>>10)
		if most > was+spare {
			t.Errorf("%s took %d KiB more for a list of %d", d, (most-was)>>10, n)
		}
	}
	if got := e.find(t, "name=="+manyName(77777)); len(got) != 1 {
		t.Errorf("one of many: %q", got)
	}
	if got := e.find(t, `labels.number~=^[0-9]{2}$`); len(got) != 90 {
		t.Errorf("ninety of many: %d", len(got))
	}
}

// life is what containers ask for while others look.
func (e *env) life(t *testing.T, key string) {
	t.Helper()
	check(t, e.rawPrepare(key, "many-base", nil))
	check(t, e.rawMounts(key))
	_, err := e.rawStat(key)
	check(t, err)
	check(t, e.rawUsage(key))
	check(t, e.rawUpdate(key, map[string]string{"a": "b"}))
	check(t, e.rawCommit(key+"c", key))
	check(t, e.rawRemove(key+"c"))
}

// Clients that begin a List and take no more of it: more than there are workers
// for lists. All else goes on, and what is read again is whole.
func testStalledLists(t *testing.T, e *env) {
	e.makeMany(t)
	var streams []snapshotsapi.Snapshots_ListClient
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	for i := 0; i < 6; i++ {
		s, err := e.client.List(ctx, &snapshotsapi.ListSnapshotsRequest{})
		check(t, err)
		streams = append(streams, s)
	}
	first, err := streams[0].Recv()
	check(t, err)
	n := len(first.Info)
	for i := 0; i < 20; i++ {
		e.life(t, e.name(fmt.Sprintf("k%d", i)))
	}
	for {
		r, err := streams[0].Recv()
		if err == io.EOF {
			break
		}
		check(t, err)
		n += len(r.Info)
	}
	if n < manySnapshots {
		t.Errorf("the stalled list has %d snapshots", n)
	}
	// given up, they leave room for others at once
	cancel()
	start := time.Now()
	if got := e.find(t, "name==many-base"); len(got) != 1 || time.Since(start) > 15*time.Second {
		t.Errorf("a list after that: %q, %v", got, time.Since(start))
	}
}

// While others list everything and ask for usage without pause, a call takes
// longer, for there are two processors, but not as long as a list.
func testMeanwhile(t *testing.T, e *env) {
	e.makeMany(t)
	check(t, e.rawPrepare(e.name("key"), "many-base", nil))
	var alone, busy []time.Duration
	one := func(i int) time.Duration {
		key := e.name(fmt.Sprintf("k%d", i))
		check(t, e.rawPrepare(key, "many-base", nil))
		return timed(t, func() error { return e.rawRemove(key) })
	}
	for i := 0; i < 20; i++ {
		alone = append(alone, one(i))
	}
	stop, done := make(chan bool), make(chan error)
	again := func(fn func() error) {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
				if err := fn(); err != nil {
					done <- err
					return
				}
			}
		}
	}
	var lists []time.Duration
	go again(func() error {
		start := time.Now()
		_, err := e.list()
		lists = append(lists, time.Since(start))
		return err
	})
	go again(func() error { return e.rawUsage(e.name("key")) })
	for i := 0; i < 20 || len(busy) < 20; i++ {
		busy = append(busy, one(100+i))
	}
	close(stop)
	for i := 0; i < 2; i++ {
		check(t, <-done)
	}
	t.Logf("Remove: alone %v, meanwhile %v; a list %v", median(alone), median(busy), least(lists))
	if median(busy) > least(lists)/2 {
		t.Errorf("Remove took %v while lists took %v: it waits for them", median(busy), least(lists))
	}
}
