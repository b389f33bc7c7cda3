// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/proxy"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// What the suite leaves out. All subtests share a daemon: names begin with the
// subtest's.
func TestMore(t *testing.T) {
	for _, tc := range []struct {
		name string
		fn   func(*testing.T, *env)
	}{
		{"Errors", testErrors},
		{"FailedCommitKeepsTheSnapshot", testFailedCommit},
		{"BadText", testBadText},
		{"MountsAreRepeatable", testMounts},
		{"CommitReplacesLabels", testCommitLabels},
		{"UpdateMasks", testUpdate},
		{"Filters", testFilters},
		{"ListInBatches", testList},
		{"Usage", testUsage},
		{"SpaceComesBack", testSpace},
		{"NodeTypes", testNodeTypes},
		{"SiblingsAreIsolated", testSiblings},
		{"Concurrency", testConcurrency},
		{"Deadline", testDeadline},
		{"Garbage", testGarbage},
		{"Health", testHealth},
		{"NothingIsLeft", testNothingLeft},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.fn(t, newEnv(t)) })
	}
}

type env struct {
	ctx    context.Context
	prefix string
	client snapshotsapi.SnapshotsClient
	health grpc_health_v1.HealthClient
	sn     snapshots.Snapshotter
}

func newEnv(t *testing.T) *env {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	conn, err := dial(ctx)
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	client := snapshotsapi.NewSnapshotsClient(conn)
	e := &env{
		ctx:    ctx,
		prefix: filepath.Base(t.Name()) + "/",
		client: client,
		health: grpc_health_v1.NewHealthClient(conn),
		sn:     proxy.NewSnapshotter(client, "daxfs"),
	}
	t.Cleanup(func() { e.removeAll(t) })
	return e
}

// name makes a name of this subtest's; "" stays "".
func (e *env) name(s string) string {
	if s == "" {
		return ""
	}
	return e.prefix + s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (e *env) prepare(t *testing.T, key, parent string, opts ...snapshots.Opt) []mount.Mount {
	t.Helper()
	m, err := e.sn.Prepare(e.ctx, e.name(key), e.name(parent), opts...)
	check(t, err)
	return m
}

func (e *env) commit(t *testing.T, name, key string, opts ...snapshots.Opt) {
	t.Helper()
	check(t, e.sn.Commit(e.ctx, e.name(name), e.name(key), opts...))
}

func (e *env) remove(t *testing.T, key string) {
	t.Helper()
	check(t, e.sn.Remove(e.ctx, e.name(key)))
}

// layer makes a committed snapshot from what fill does.
func (e *env) layer(t *testing.T, name, parent string, fill func(dir string)) {
	t.Helper()
	with(t, e.prepare(t, name+"-active", parent), fill)
	e.commit(t, name, name+"-active")
}

func with(t *testing.T, m []mount.Mount, fn func(dir string)) {
	t.Helper()
	dir := t.TempDir()
	check(t, mount.All(m, dir))
	defer func() {
		t.Helper()
		check(t, mount.UnmountAll(dir, 0))
	}()
	fn(dir)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	check(t, os.WriteFile(path, []byte(content), 0644))
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return string(b)
}

// removeAll drops this subtest's snapshots, children before parents.
func (e *env) removeAll(t *testing.T) {
	for again := true; again; {
		var names []string
		again = false
		check(t, e.sn.Walk(e.ctx, func(_ context.Context, i snapshots.Info) error {
			if strings.HasPrefix(i.Name, e.prefix) {
				names = append(names, i.Name)
			}
			return nil
		}))
		for _, n := range names {
			if e.sn.Remove(e.ctx, n) == nil {
				again = true
			} else if len(names) == 1 {
				t.Errorf("%s cannot be removed", n)
			}
		}
	}
}

func labels(kv ...string) snapshots.Opt {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return snapshots.WithLabels(m)
}

func testErrors(t *testing.T, e *env) {
	e.layer(t, "base", "", func(string) {})
	e.prepare(t, "active", "base")
	_, err := e.sn.View(e.ctx, e.name("view"), e.name("base"))
	check(t, err)

	prepare := func(key, parent string) error {
		_, err := e.sn.Prepare(e.ctx, e.name(key), e.name(parent))
		return err
	}
	view := func(key, parent string) error {
		_, err := e.sn.View(e.ctx, e.name(key), e.name(parent))
		return err
	}
	commit := func(name, key string) error {
		return e.sn.Commit(e.ctx, e.name(name), e.name(key))
	}
	stat := func(key string) error {
		_, err := e.sn.Stat(e.ctx, e.name(key))
		return err
	}
	mounts := func(key string) error {
		_, err := e.sn.Mounts(e.ctx, e.name(key))
		return err
	}
	usage := func(key string) error {
		_, err := e.sn.Usage(e.ctx, e.name(key))
		return err
	}
	remove := func(key string) error {
		return e.sn.Remove(e.ctx, e.name(key))
	}
	update := func(key string) error {
		_, err := e.sn.Update(e.ctx, snapshots.Info{Name: e.name(key)}, "labels")
		return err
	}
	for _, tc := range []struct {
		what string
		err  error
		want error
	}{
		{"Prepare on a missing parent", prepare("x", "none"), errdefs.ErrNotFound},
		{"Prepare on an active parent", prepare("x", "active"), errdefs.ErrInvalidArgument},
		{"Prepare on a view", prepare("x", "view"), errdefs.ErrInvalidArgument},
		{"Prepare of an existing key", prepare("active", "base"), errdefs.ErrAlreadyExists},
		{"Prepare of a committed name", prepare("base", ""), errdefs.ErrAlreadyExists},
		{"Prepare without a key", prepare("", ""), errdefs.ErrInvalidArgument},
		{"View on a missing parent", view("x", "none"), errdefs.ErrNotFound},
		{"View of an existing key", view("active", "base"), errdefs.ErrAlreadyExists},
		{"Commit of a missing key", commit("x", "none"), errdefs.ErrNotFound},
		{"Commit to an existing name", commit("base", "active"), errdefs.ErrAlreadyExists},
		{"Commit of a view", commit("x", "view"), errdefs.ErrFailedPrecondition},
		{"Commit of a committed snapshot", commit("x", "base"), errdefs.ErrFailedPrecondition},
		{"Stat", stat("none"), errdefs.ErrNotFound},
		{"Mounts", mounts("none"), errdefs.ErrNotFound},
		{"Mounts of a committed snapshot", mounts("base"), errdefs.ErrFailedPrecondition},
		{"Usage", usage("none"), errdefs.ErrNotFound},
		{"Remove", remove("none"), errdefs.ErrNotFound},
		{"Remove with children", remove("base"), errdefs.ErrFailedPrecondition},
		{"Update", update("none"), errdefs.ErrNotFound},
	} {
		if !errors.Is(tc.err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.what, tc.err, tc.want)
		}
	}
	if err := stat("x"); !errdefs.IsNotFound(err) {
		t.Errorf("a failed call left a snapshot behind: %v", err)
	}
}

func testFailedCommit(t *testing.T, e *env) {
	e.layer(t, "taken", "", func(string) {})
	with(t, e.prepare(t, "key", ""), func(dir string) { write(t, dir+"/f", "kept") })
	if err := e.sn.Commit(e.ctx, e.name("taken"), e.name("key")); !errdefs.IsAlreadyExists(err) {
		t.Fatalf("Commit to an existing name: %v", err)
	}
	m, err := e.sn.Mounts(e.ctx, e.name("key"))
	check(t, err)
	with(t, m, func(dir string) {
		if got := read(t, dir+"/f"); got != "kept" {
			t.Errorf("f holds %q", got)
		}
		write(t, dir+"/g", "still writable")
	})
	e.commit(t, "free", "key")
}

func testBadText(t *testing.T, e *env) {
	for _, bad := range []string{"a\x00b", "a\xffb", "\xc0\x80", "\xed\xa0\x80"} {
		_, err := e.client.Stat(e.ctx, &snapshotsapi.StatSnapshotRequest{Key: bad})
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("key %q: %v", bad, err)
		}
		_, err = e.client.Prepare(e.ctx, &snapshotsapi.PrepareSnapshotRequest{
			Key: e.name("x"), Labels: map[string]string{"l": bad}})
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("label %q: %v", bad, err)
		}
	}
	key := "caf\u00e9 \"\\/\n\u20ac \U0001f600 100%"
	e.prepare(t, key, "", labels("l\u00e9", "\u20ac\n"))
	i, err := e.sn.Stat(e.ctx, e.name(key))
	check(t, err)
	if i.Name != e.name(key) || i.Labels["l\u00e9"] != "\u20ac\n" {
		t.Errorf("got %+v", i)
	}
	_, err = e.sn.Stat(e.ctx, e.name(key+"?"))
	if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "caf\u00e9") {
		t.Errorf("the error does not name the snapshot: %v", err)
	}
	// Messages show a part of a long name, and may cut a letter in two.
	for _, pad := range []string{"", "x", "xx"} {
		long := pad + strings.Repeat("\u20ac", 300)
		if _, err = e.sn.Stat(e.ctx, long); !errdefs.IsNotFound(err) {
			t.Errorf("long name: %v", err)
		}
	}
}

func testMounts(t *testing.T, e *env) {
	first := e.prepare(t, "key", "")
	for i := 0; i < 3; i++ {
		m, err := e.sn.Mounts(e.ctx, e.name("key"))
		check(t, err)
		if !reflect.DeepEqual(m, first) {
			t.Fatalf("Mounts gave %v, Prepare %v", m, first)
		}
		with(t, m, func(dir string) {
			with(t, m, func(again string) {
				write(t, fmt.Sprintf("%s/%d", dir, i), "x")
				read(t, fmt.Sprintf("%s/%d", again, i))
			})
		})
	}
	with(t, first, func(dir string) {
		entries, err := os.ReadDir(dir)
		check(t, err)
		if len(entries) != 3 {
			t.Errorf("%d files, wrote 3", len(entries))
		}
	})
}

func testCommitLabels(t *testing.T, e *env) {
	e.prepare(t, "key", "", labels("a", "1", "b", "2"))
	before := time.Now()
	e.commit(t, "name", "key", labels("b", "3"))
	i, err := e.sn.Stat(e.ctx, e.name("name"))
	check(t, err)
	if !reflect.DeepEqual(i.Labels, map[string]string{"b": "3"}) {
		t.Errorf("labels %v", i.Labels)
	}
	if i.Created.Before(before) || i.Created.After(time.Now()) || !i.Created.Equal(i.Updated) {
		t.Errorf("created %v, updated %v", i.Created, i.Updated)
	}
	if _, err := e.sn.Stat(e.ctx, e.name("key")); !errdefs.IsNotFound(err) {
		t.Errorf("the key is still there: %v", err)
	}
	e.prepare(t, "key", "") // and free again
}

func testUpdate(t *testing.T, e *env) {
	e.prepare(t, "key", "", labels("keep", "1", "drop", "2", "change", "3"))
	was, err := e.sn.Stat(e.ctx, e.name("key"))
	check(t, err)
	for _, tc := range []struct {
		in   map[string]string
		mask []string
		want map[string]string // nil: InvalidArgument
	}{
		{map[string]string{"change": "4", "stray": "9"},
			[]string{"labels.change", "labels.drop", "labels.absent"},
			map[string]string{"keep": "1", "change": "4"}},
		{map[string]string{"a.b/c": "5"}, []string{"labels.a.b/c"},
			map[string]string{"keep": "1", "change": "4", "a.b/c": "5"}},
		{nil, []string{"parent"}, nil},
		{nil, []string{"kind"}, nil},
		{nil, []string{"name"}, nil},
		{map[string]string{"x": "y"}, []string{"labels.x", "created"}, nil},
		{nil, []string{"nonsense"}, nil},
		{map[string]string{"only": "6"}, []string{"labels"}, map[string]string{"only": "6"}},
		{map[string]string{"all": "7"}, nil, map[string]string{"all": "7"}},
		{nil, []string{"labels"}, map[string]string{}},
	} {
		i, err := e.sn.Update(e.ctx, snapshots.Info{Name: e.name("key"), Labels: tc.in}, tc.mask...)
		if tc.want == nil {
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("mask %v: %v", tc.mask, err)
			}
			continue
		}
		check(t, err)
		now, err := e.sn.Stat(e.ctx, e.name("key"))
		check(t, err)
		if !reflect.DeepEqual(i, now) {
			t.Errorf("mask %v: Update said %v, Stat %v", tc.mask, i, now)
		}
		if len(now.Labels) != len(tc.want) || (len(tc.want) > 0 && !reflect.DeepEqual(now.Labels, tc.want)) {
			t.Errorf("mask %v: labels %v, want %v", tc.mask, now.Labels, tc.want)
		}
		if !now.Created.Equal(was.Created) || now.Updated.Before(was.Updated) {
			t.Errorf("mask %v: times %v %v", tc.mask, now.Created, now.Updated)
		}
	}
}

func testFilters(t *testing.T, e *env) {
	e.prepare(t, "one-active", "", labels("team", "red", "a.b/c", "x,y"))
	e.commit(t, "one", "one-active", labels("team", "red", "a.b/c", "x,y"))
	e.prepare(t, "two", "one", labels("team", "blue"))
	_, err := e.sn.View(e.ctx, e.name("three"), e.name("one"))
	check(t, err)
	mine := fmt.Sprintf(`name~="^%s"`, e.prefix)
	for _, tc := range []struct {
		filters []string
		want    string
	}{
		{[]string{mine}, "one three two"},
		{[]string{mine + ",labels.team"}, "one two"},
		{[]string{mine + ",labels.team==red"}, "one"},
		{[]string{mine + ",labels.team!=red"}, "three two"},
		{[]string{mine + ",labels.team~=^(red|blue)$"}, "one two"},
		{[]string{mine + ",labels.team~=/^r.d$/"}, "one"},
		{[]string{mine + ",labels.team~=|^b|"}, "two"},
		{[]string{mine + `,labels."a.b/c"=="x,y"`}, "one"},
		{[]string{mine + ",kind==committed", mine + ",kind==view"}, "one three"},
		{[]string{mine + ",kind!=active,parent!=\"\""}, "three"},
		{[]string{mine + ",parent==" + e.name("one")}, "three two"},
		{[]string{mine + ",labels.none"}, ""},
		{[]string{mine + ",nonsense==1"}, ""},
		{[]string{"name==" + e.name("two"), "name==" + e.name("two")}, "two"},
	} {
		var got []string
		err := e.sn.Walk(e.ctx, func(_ context.Context, i snapshots.Info) error {
			got = append(got, strings.TrimPrefix(i.Name, e.prefix))
			return nil
		}, tc.filters...)
		check(t, err)
		sort.Strings(got)
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%q: got %q, want %q", tc.filters, s, tc.want)
		}
	}
	for _, bad := range []string{"name==\"open", "name=x", "==x", "labels..x=="} {
		err := e.sn.Walk(e.ctx, func(context.Context, snapshots.Info) error { return nil }, bad)
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("filter %q: %v", bad, err)
		}
	}
}

func testList(t *testing.T, e *env) {
	const n = 130
	want := map[string]bool{}
	for i := 0; i < n; i++ {
		key := fmt.Sprintf("s%d", i)
		e.prepare(t, key, "", labels("l", strings.Repeat("v", 1000)))
		want[e.name(key)] = true
	}
	stream, err := e.client.List(e.ctx, &snapshotsapi.ListSnapshotsRequest{
		Filters: []string{fmt.Sprintf(`name~="^%s"`, e.prefix)}})
	check(t, err)
	batches := 0
	for len(want) > 0 {
		m, err := stream.Recv()
		check(t, err)
		batches++
		if len(m.Info) > 100 {
			t.Errorf("a batch of %d", len(m.Info))
		}
		for _, i := range m.Info {
			if !want[i.Name] {
				t.Errorf("%s came twice, or is not ours", i.Name)
			}
			delete(want, i.Name)
		}
	}
	if batches < 2 {
		t.Errorf("%d snapshots in %d batches", n, batches)
	}
}

func testUsage(t *testing.T, e *env) {
	const size = 8 << 20
	usage := func(key string) snapshots.Usage {
		t.Helper()
		u, err := e.sn.Usage(e.ctx, e.name(key))
		check(t, err)
		return u
	}
	m := e.prepare(t, "key", "")
	empty := usage("key")
	with(t, m, func(dir string) {
		for i := 0; i < 8; i++ {
			write(t, fmt.Sprintf("%s/%d", dir, i), strings.Repeat("x", size/8))
		}
		fd, err := unix.Open(dir, unix.O_RDONLY, 0)
		check(t, err)
		check(t, unix.Syncfs(fd))
		unix.Close(fd)
		full := usage("key")
		if d := full.Size - empty.Size; d < size || d > size+size/4 {
			t.Errorf("8 files of 1 MiB: the size grew by %d", d)
		}
		if d := full.Inodes - empty.Inodes; d != 8 {
			t.Errorf("8 files: the inodes grew by %d", d)
		}
	})
	e.commit(t, "name", "key")
	if u := usage("name"); u.Size < size || u.Inodes < 8 {
		t.Errorf("committed: %+v", u)
	}
	e.prepare(t, "child", "name")
	if u := usage("child"); u.Size > size/8 || u.Inodes > 1 {
		t.Errorf("an unchanged child: %+v", u)
	}
}

// Space is there again after Remove and Cleanup, as often as one likes.
func testSpace(t *testing.T, e *env) {
	_, err := e.sn.View(e.ctx, e.name("view"), "")
	check(t, err)
	free := func() (n uint64) {
		m, err := e.sn.Mounts(e.ctx, e.name("view"))
		check(t, err)
		with(t, m, func(dir string) {
			var st unix.Statfs_t
			check(t, unix.Statfs(dir, &st))
			n = st.Bfree * uint64(st.Bsize)
		})
		return n
	}
	cleanup := func() {
		_, err := e.client.Cleanup(e.ctx, &snapshotsapi.CleanupRequest{Snapshotter: "daxfs"})
		check(t, err)
	}
	cleanup() // after the subtests before this one
	const size = 16 << 20
	data := strings.Repeat("x", size)
	before := free()
	for i := 0; i < 4; i++ {
		e.layer(t, "name", "", func(dir string) { write(t, dir+"/f", data) })
		if left := free(); left+size > before+size/4 {
			t.Errorf("round %d: %d bytes written, %d of %d free", i, size, left, before)
		}
		e.remove(t, "name")
		cleanup()
		if left := free(); left+size/4 < before {
			t.Errorf("round %d: %d bytes free, were %d", i, left, before)
		}
	}
}

func testNodeTypes(t *testing.T, e *env) {
	capability := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	defer unix.Umask(unix.Umask(0))
	stamp := time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)
	e.layer(t, "base", "", func(dir string) {
		check(t, unix.Mknod(dir+"/null", unix.S_IFCHR|0666, int(unix.Mkdev(1, 3))))
		check(t, unix.Mknod(dir+"/block", unix.S_IFBLK|0660, int(unix.Mkdev(259, 70000))))
		check(t, unix.Mkfifo(dir+"/fifo", 0644))
		check(t, unix.Mknod(dir+"/socket", unix.S_IFSOCK|0600, 0))
		write(t, dir+"/file", "content")
		check(t, os.Link(dir+"/file", dir+"/hard"))
		check(t, os.Symlink("../some/where", dir+"/soft"))
		check(t, unix.Lsetxattr(dir+"/file", "security.capability", capability, 0))
		check(t, unix.Lsetxattr(dir+"/file", "user.note", []byte("n"), 0))
		check(t, os.Lchown(dir+"/soft", 7, 8))
		check(t, os.Chtimes(dir+"/file", stamp, stamp))
		check(t, os.Mkdir(dir+"/sticky", 0755))
		check(t, os.Chmod(dir+"/sticky", 0777|os.ModeSticky))
	})
	m, err := e.sn.View(e.ctx, e.name("view"), e.name("base"))
	check(t, err)
	with(t, m, func(dir string) {
		stat := func(name string) (st unix.Stat_t) {
			t.Helper()
			check(t, unix.Lstat(dir+"/"+name, &st))
			return st
		}
		for name, want := range map[string]unix.Stat_t{
			"null":   {Mode: unix.S_IFCHR | 0666, Rdev: unix.Mkdev(1, 3)},
			"block":  {Mode: unix.S_IFBLK | 0660, Rdev: unix.Mkdev(259, 70000)},
			"fifo":   {Mode: unix.S_IFIFO | 0644},
			"socket": {Mode: unix.S_IFSOCK | 0600},
			"file":   {Mode: unix.S_IFREG | 0644},
			"soft":   {Mode: unix.S_IFLNK | 0777, Uid: 7, Gid: 8},
			"sticky": {Mode: unix.S_IFDIR | unix.S_ISVTX | 0777},
		} {
			st := stat(name)
			if st.Mode != want.Mode || st.Rdev != want.Rdev || st.Uid != want.Uid || st.Gid != want.Gid {
				t.Errorf("%s: mode %o rdev %x owner %d:%d", name, st.Mode, st.Rdev, st.Uid, st.Gid)
			}
		}
		file, hard := stat("file"), stat("hard")
		if file.Ino != hard.Ino || file.Nlink != 2 {
			t.Errorf("hard link: inodes %d and %d, %d links", file.Ino, hard.Ino, file.Nlink)
		}
		if got := time.Unix(file.Mtim.Sec, file.Mtim.Nsec).UTC(); !got.Equal(stamp) {
			t.Errorf("mtime %v", got)
		}
		if to, err := os.Readlink(dir + "/soft"); err != nil || to != "../some/where" {
			t.Errorf("symlink to %q, %v", to, err)
		}
		buf := make([]byte, 64)
		n, err := unix.Lgetxattr(dir+"/file", "security.capability", buf)
		if err != nil || !bytes.Equal(buf[:n], capability) {
			t.Errorf("capability %x, %v", buf[:n], err)
		}
		if _, err = unix.Lgetxattr(dir+"/file", "user.none", buf); err != unix.ENODATA {
			t.Errorf("absent xattr: %v", err)
		}
	})
}

// Each branch has its own st_dev, or containerd's diff takes files for the same.
func testSiblings(t *testing.T, e *env) {
	e.layer(t, "base", "", func(dir string) {
		write(t, dir+"/f", "base")
		write(t, dir+"/gone", "base")
	})
	a, b := e.prepare(t, "a", "base"), e.prepare(t, "b", "base")
	with(t, a, func(da string) {
		with(t, b, func(db string) {
			write(t, da+"/f", "a")
			write(t, db+"/f", "b")
			check(t, os.Remove(da+"/gone"))
			if fa, fb := read(t, da+"/f"), read(t, db+"/f"); fa != "a" || fb != "b" {
				t.Errorf("a holds %q, b holds %q", fa, fb)
			}
			read(t, db+"/gone")
			var sa, sb unix.Stat_t
			check(t, unix.Lstat(da+"/f", &sa))
			check(t, unix.Lstat(db+"/f", &sb))
			if sa.Dev == sb.Dev {
				t.Errorf("both branches are device %x", sa.Dev)
			}
		})
	})
	m, err := e.sn.View(e.ctx, e.name("view"), e.name("base"))
	check(t, err)
	with(t, m, func(dir string) {
		if f := read(t, dir+"/f") + read(t, dir+"/gone"); f != "basebase" {
			t.Errorf("the base changed: %q", f)
		}
	})
}

func testConcurrency(t *testing.T, e *env) {
	e.layer(t, "base", "", func(dir string) { write(t, dir+"/f", "base") })
	var wg sync.WaitGroup
	for i := 0; i < 12; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			if err := e.oneUser(i, t.TempDir()); err != nil {
				t.Errorf("user %d: %v", i, err)
			}
		}(i)
	}
	wg.Wait()
}

// oneUser builds a few layers on the common base and takes them down again.
func (e *env) oneUser(i int, dir string) error {
	parent := e.name("base")
	var made []string
	for j := 0; j < 4; j++ {
		key, name := e.name(fmt.Sprintf("k%d-%d", i, j)), e.name(fmt.Sprintf("c%d-%d", i, j))
		m, err := e.sn.Prepare(e.ctx, key, parent)
		if err != nil {
			return err
		}
		if err := mount.All(m, dir); err != nil {
			return err
		}
		err = appendTo(dir+"/f", fmt.Sprintf(" %d.%d", i, j))
		if err1 := mount.UnmountAll(dir, 0); err == nil {
			err = err1
		}
		if err == nil {
			err = e.sn.Commit(e.ctx, name, key)
		}
		if err != nil {
			return err
		}
		made, parent = append(made, name), name
	}
	m, err := e.sn.View(e.ctx, e.name(fmt.Sprintf("v%d", i)), parent)
	if err != nil {
		return err
	}
	if err := mount.All(m, dir); err != nil {
		return err
	}
	got, err := os.ReadFile(dir + "/f")
	if err1 := mount.UnmountAll(dir, 0); err == nil {
		err = err1
	}
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("base %d.0 %d.1 %d.2 %d.3", i, i, i, i); string(got) != want {
		return fmt.Errorf("the file holds %q, not %q", got, want)
	}
	if err := e.sn.Remove(e.ctx, e.name(fmt.Sprintf("v%d", i))); err != nil {
		return err
	}
	for j := len(made) - 1; j >= 0; j-- {
		if err := e.sn.Remove(e.ctx, made[j]); err != nil {
			return err
		}
	}
	return nil
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err1 := f.Close(); err == nil {
		err = err1
	}
	return err
}

func testDeadline(t *testing.T, e *env) {
	for i := 0; i < 20; i++ {
		ctx, cancel := context.WithTimeout(e.ctx, time.Duration(i)*20*time.Microsecond)
		_, err := e.client.Stat(ctx, &snapshotsapi.StatSnapshotRequest{Key: e.name("none")})
		cancel()
		if c := status.Code(err); c != codes.DeadlineExceeded && c != codes.NotFound {
			t.Errorf("a deadline of %d us: %v", i*20, err)
		}
	}
	_, err := e.sn.Stat(e.ctx, e.name("none"))
	if !errdefs.IsNotFound(err) {
		t.Errorf("after that: %v", err)
	}
}

// Bytes that are no HTTP/2 end their connection and nothing else.
func testGarbage(t *testing.T, e *env) {
	preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	for i := 0; i < 40; i++ {
		c, err := net.Dial("unix", os.Getenv("DAXFS_ADDRESS"))
		check(t, err)
		junk := make([]byte, 4096)
		_, err = rand.Read(junk)
		check(t, err)
		if i%2 == 0 {
			junk = append([]byte(preface), junk...)
		}
		c.Write(junk) // may fail: the other side hangs up as soon as it can
		if i%4 < 2 {
			check(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
			for {
				if _, err = c.Read(junk); err != nil {
					break
				}
			}
			if os.IsTimeout(err) {
				t.Errorf("connection %d stays open", i)
			}
		}
		c.Close()
	}
	if _, err := e.sn.Stat(e.ctx, e.name("none")); !errdefs.IsNotFound(err) {
		t.Errorf("after garbage: %v", err)
	}
}

func testHealth(t *testing.T, e *env) {
	for _, service := range []string{"", "containerd.services.snapshots.v1.Snapshots"} {
		r, err := e.health.Check(e.ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		check(t, err)
		if r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v", service, r.Status)
		}
	}
	_, err := e.health.Check(e.ctx, &grpc_health_v1.HealthCheckRequest{Service: "x"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("unknown service: %v", err)
	}
	for service, want := range map[string]grpc_health_v1.HealthCheckResponse_ServingStatus{
		"":  grpc_health_v1.HealthCheckResponse_SERVING,
		"x": grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN,
	} {
		ctx, cancel := context.WithCancel(e.ctx)
		w, err := e.health.Watch(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		check(t, err)
		r, err := w.Recv()
		check(t, err)
		if r.Status != want {
			t.Errorf("Watch of %q: %v", service, r.Status)
		}
		cancel()
	}
}

// With all snapshots removed and cleaned up no mount stays.
func testNothingLeft(t *testing.T, e *env) {
	_, err := e.client.Cleanup(e.ctx, &snapshotsapi.CleanupRequest{Snapshotter: "daxfs"})
	check(t, err)
	var left []string
	for i := 0; i < 100; i++ {
		left = nil
		mounts, err := mountinfo.GetMounts(nil)
		check(t, err)
		for _, m := range mounts {
			if strings.HasPrefix(m.Mountpoint, filepath.Dir(os.Getenv("DAXFS_ADDRESS"))+"/") {
				left = append(left, m.Mountpoint)
			}
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("%d mounts, such as %s", len(left), left[0])
}
