// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/containerd/mount"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

const (
	quotaBytes  = "containerd.io/snapshot/io.daxfs.quota.bytes"
	quotaInodes = "containerd.io/snapshot/io.daxfs.quota.inodes"
)

// ---- Mounts ------------------------------------------------------------------

func testMountsAtOnce(t *testing.T, e *env) {
	first := e.prepare(t, "key", "")
	all := make([][]mount.Mount, 32)
	for _, err := range e.atOnce(len(all), func(i int) (err error) {
		all[i], err = e.sn.Mounts(e.ctx, e.name("key"))
		return err
	}) {
		check(t, err)
	}
	for _, m := range all {
		if !reflect.DeepEqual(m, first) {
			t.Fatalf("Mounts gave %v, Prepare %v", m, first)
		}
	}
	// there is one mount, of one file system
	with(t, first, func(a string) {
		with(t, all[0], func(b string) {
			var sa, sb unix.Stat_t
			check(t, unix.Stat(a, &sa))
			check(t, unix.Stat(b, &sb))
			if sa.Dev != sb.Dev || sa.Ino != sb.Ino {
				t.Errorf("devices %x and %x", sa.Dev, sb.Dev)
			}
			write(t, a+"/f", "x")
			read(t, b+"/f")
		})
	})
}

// A process writes when its snapshot is committed: what it was told is written
// is in the layer, the first refusal is the last write, and nothing comes after.
func testCommitWritten(t *testing.T, e *env) {
	m := e.prepare(t, "key", "")
	with(t, m, func(dir string) {
		f, err := os.Create(dir + "/log")
		check(t, err)
		defer f.Close()
		started, done := make(chan bool), make(chan int)
		go func() {
			n := 0
			for ; ; n++ {
				if n == 100 {
					close(started)
				}
				if _, err := fmt.Fprintf(f, "%08d\n", n); err != nil {
					if !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.ESTALE) && !errors.Is(err, unix.EIO) {
						t.Errorf("write %d: %v", n, err)
					}
					break
				}
			}
			done <- n
		}()
		<-started
		e.commit(t, "name", "key")
		n := <-done
		vm, err := e.sn.View(e.ctx, e.name("view"), e.name("name"))
		check(t, err)
		with(t, vm, func(v string) {
			lines := strings.Split(strings.TrimSuffix(read(t, v+"/log"), "\n"), "\n")
			if len(lines) != n {
				t.Errorf("%d lines are in the layer, %d were written", len(lines), n)
			}
			for i, l := range lines {
				if l != fmt.Sprintf("%08d", i) {
					t.Fatalf("line %d is %q", i, l)
				}
			}
		})
	})
}

// What is in a mapping only is in the layer too.
func testCommitMapped(t *testing.T, e *env) {
	m := e.prepare(t, "key", "")
	with(t, m, func(dir string) {
		write(t, dir+"/f", strings.Repeat("-", 8192))
		f, err := os.OpenFile(dir+"/f", os.O_RDWR, 0)
		check(t, err)
		defer f.Close()
		p, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		check(t, err)
		defer unix.Munmap(p)
		copy(p[4090:], "mapped text")
		e.commit(t, "name", "key")
	})
	vm, err := e.sn.View(e.ctx, e.name("view"), e.name("name"))
	check(t, err)
	with(t, vm, func(v string) {
		if got := read(t, v+"/f"); len(got) != 8192 || got[4090:4101] != "mapped text" {
			t.Errorf("%d bytes, %q", len(got), got[4090:4101])
		}
	})
}

func testViewOfNothing(t *testing.T, e *env) {
	defer unix.Umask(unix.Umask(0077))
	m, err := e.sn.View(e.ctx, e.name("view"), "")
	check(t, err)
	with(t, m, func(dir string) {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 0 {
			t.Errorf("%d entries, %v", len(entries), err)
		}
		st, err := os.Stat(dir)
		check(t, err)
		if st.Mode().Perm() != 0755 {
			t.Errorf("the root's mode is %o", st.Mode())
		}
		if err := os.WriteFile(dir+"/f", nil, 0644); !errors.Is(err, unix.EROFS) {
			t.Errorf("writing to a view: %v", err)
		}
	})
	with(t, e.prepare(t, "active", ""), func(dir string) {
		st, err := os.Stat(dir)
		check(t, err)
		if st.Mode().Perm() != 0755 {
			t.Errorf("the root's mode is %o", st.Mode())
		}
	})
}

// ---- Usage -------------------------------------------------------------------

func (e *env) usage(t *testing.T, key string) (size, inodes int64) {
	t.Helper()
	u, err := e.sn.Usage(e.ctx, e.name(key))
	check(t, err)
	return u.Size, u.Inodes
}

func testUsageFollows(t *testing.T, e *env) {
	const mib = 1 << 20
	data := strings.Repeat("x", mib)
	e.layer(t, "base", "", func(dir string) {
		for i := 0; i < 8; i++ {
			write(t, fmt.Sprintf("%s/%d", dir, i), data)
		}
	})
	base, baseInodes := e.usage(t, "base")
	if base < 8*mib || base > 9*mib || baseInodes < 8 {
		t.Errorf("8 files of 1 MiB: %d bytes, %d inodes", base, baseInodes)
	}
	m := e.prepare(t, "key", "base")
	check(t, e.rawView(e.name("view"), e.name("base"), nil))
	with(t, m, func(dir string) {
		before, inodes := e.usage(t, "key")
		if before > mib/2 || inodes > 1 {
			t.Errorf("unchanged: %d bytes, %d inodes", before, inodes)
		}
		write(t, dir+"/new", data)
		after, inodes := e.usage(t, "key")
		if after < before+mib || after > before+mib+mib/2 {
			t.Errorf("1 MiB more: %d bytes, were %d", after, before)
		}
		check(t, os.Remove(dir+"/new"))
		last, lastInodes := e.usage(t, "key")
		if last+mib > after || lastInodes >= inodes {
			t.Errorf("after unlink: %d bytes, %d inodes; were %d, %d", last, lastInodes, after, inodes)
		}
		// of the base it owns what it changes, no more
		f, err := os.OpenFile(dir+"/3", os.O_WRONLY, 0)
		check(t, err)
		_, err = f.WriteAt([]byte("y"), mib/2)
		check(t, err)
		check(t, f.Close())
		changed, _ := e.usage(t, "key")
		if changed > last+mib/2 {
			t.Errorf("one byte of a base file: %d bytes, were %d", changed, last)
		}
	})
	if size, inodes := e.usage(t, "view"); size > mib/2 || inodes > 1 {
		t.Errorf("a view: %d bytes, %d inodes", size, inodes)
	}
	if size, inodes := e.usage(t, "base"); size != base || inodes != baseInodes {
		t.Errorf("the base has changed: %d bytes, %d inodes", size, inodes)
	}
}

// ---- Quota -------------------------------------------------------------------

func isQuota(err error) bool {
	return errors.Is(err, unix.EDQUOT)
}

// fillUp writes until it is refused or limit bytes are there.
func fillUp(path string, limit int) (int, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 256<<10)
	for n := 0; ; n += len(buf) {
		if n >= limit {
			return n, nil
		}
		if _, err := f.Write(buf); err != nil {
			return n, err
		}
	}
}

func testQuota(t *testing.T, e *env) {
	const mib = 1 << 20
	e.layer(t, "base", "", func(dir string) { write(t, dir+"/big", strings.Repeat("x", 12*mib)) })
	m := e.prepare(t, "key", "base", labels(quotaBytes, "8M", quotaInodes, "10"))
	i, err := e.rawStat(e.name("key"))
	check(t, err)
	if i.Labels[quotaBytes] != "8M" || i.Labels[quotaInodes] != "10" {
		t.Errorf("Stat says %v", i.Labels)
	}
	with(t, m, func(dir string) {
		n, err := fillUp(dir+"/f", 32*mib)
		if !isQuota(err) || n > 9*mib || n < 4*mib {
			t.Errorf("quota 8M: %d bytes, %v", n, err)
		}
		check(t, os.Remove(dir+"/f"))
		for n = 0; n < 20; n++ {
			if err = os.WriteFile(fmt.Sprintf("%s/%d", dir, n), nil, 0644); err != nil {
				break
			}
		}
		if !isQuota(err) || n > 10 || n < 8 {
			t.Errorf("quota of 10 inodes: %d files, %v", n, err)
		}
		// more
		check(t, e.rawUpdate(e.name("key"), map[string]string{quotaBytes: fmt.Sprint(24 * mib)},
			"labels."+quotaBytes))
		n, err = fillUp(dir+"/0", 32*mib)
		if !isQuota(err) || n > 25*mib || n < 20*mib {
			t.Errorf("quota 24 MiB: %d bytes, %v", n, err)
		}
		if err = os.WriteFile(dir+"/another", nil, 0644); !isQuota(err) {
			t.Errorf("the limit of inodes went with the other: %v", err)
		}
		// none
		check(t, e.rawUpdate(e.name("key"), nil))
		if n, err = fillUp(dir+"/0", 32*mib); err != nil {
			t.Errorf("without quota: %d bytes, %v", n, err)
		}
		write(t, dir+"/another", "")
		// less than there is: nothing more, but what is there can go
		check(t, e.rawUpdate(e.name("key"), map[string]string{quotaBytes: "4M"}))
		if _, err = fillUp(dir+"/more", 4*mib); !isQuota(err) {
			t.Errorf("below what is there: %v", err)
		}
		check(t, os.Remove(dir+"/0"))
	})
	// a layer's quota is not its children's
	e.commit(t, "name", "key", labels(quotaBytes, "4M"))
	with(t, e.prepare(t, "child", "name"), func(dir string) {
		if n, err := fillUp(dir+"/f", 16*mib); err != nil {
			t.Errorf("a child: %d bytes, %v", n, err)
		}
	})
}

func testQuotaRefused(t *testing.T, e *env) {
	e.prepare(t, "key", "", labels(quotaBytes, "8M"))
	for _, label := range []string{quotaBytes, quotaInodes} {
		for _, bad := range []string{"x", "-1", "1.5M", "8 M", "8MM", " ", "9999999999999999999999", "5000000000000000000"} {
			in := map[string]string{label: bad}
			wants(t, "Prepare, "+bad, e.rawPrepare(e.name("x"), "", in), codes.InvalidArgument, label, bad)
			wants(t, "View, "+bad, e.rawView(e.name("x"), "", in), codes.InvalidArgument, label, bad)
			wants(t, "Update, "+bad, e.rawUpdate(e.name("key"), in, "labels."+label),
				codes.InvalidArgument, label, bad)
		}
	}
	i, err := e.rawStat(e.name("key"))
	check(t, err)
	if !reflect.DeepEqual(i.Labels, map[string]string{quotaBytes: "8M"}) {
		t.Errorf("refused, but the labels are %v", i.Labels)
	}
	for _, good := range []string{"0", "65536", "64K", "1M", "1G", "2T"} {
		check(t, e.rawUpdate(e.name("key"), map[string]string{quotaBytes: good}))
	}
}
