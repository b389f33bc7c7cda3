// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/snapshots"
	"github.com/gogo/protobuf/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Every RPC by table: what is answered, in words too. More in the files beside
// this one.
func TestRPC(t *testing.T) {
	for _, tc := range []struct {
		name string
		fn   func(*testing.T, *env)
	}{
		{"Names", testNames},
		{"NamesRefused", testNamesRefused},
		{"LabelKeys", testLabelKeys},
		{"LabelLimits", testLabelLimits},
		{"Masks", testMasks},
		{"Parents", testParents},
		{"PrepareAtOnce", testPrepareAtOnce},
		{"CommitStates", testCommitStates},
		{"RemoveStates", testRemoveStates},
		{"States", testStates},
		{"Times", testTimes},
		{"MountsAtOnce", testMountsAtOnce},
		{"CommitWhileWritten", testCommitWritten},
		{"CommitOfMapping", testCommitMapped},
		{"ViewOfNothing", testViewOfNothing},
		{"UsageFollows", testUsageFollows},
		{"Quota", testQuota},
		{"QuotaRefused", testQuotaRefused},
		{"Ref", testRef},
		{"RefOfOtherParent", testRefParents},
		{"RefAtOnce", testRefAtOnce},
		{"FiltersAsContainerd", testFilterTable},
		{"FiltersAtRandom", testFilterRandom},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.fn(t, newEnv(t)) })
	}
}

// wants fails unless err has this status and its message these parts.
func wants(t *testing.T, what string, err error, code codes.Code, parts ...string) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != code {
		t.Errorf("%s: got %v, want %v", what, err, code)
		return
	}
	for _, p := range parts {
		if !strings.Contains(s.Message(), p) {
			t.Errorf("%s: %q does not say %q", what, s.Message(), p)
		}
	}
}

// Calls as they are on the wire: names without the subtest's prefix.

func (e *env) rawPrepare(key, parent string, labels map[string]string) error {
	_, err := e.client.Prepare(e.ctx, &snapshotsapi.PrepareSnapshotRequest{
		Key: key, Parent: parent, Labels: labels})
	return err
}

func (e *env) rawView(key, parent string, labels map[string]string) error {
	_, err := e.client.View(e.ctx, &snapshotsapi.ViewSnapshotRequest{
		Key: key, Parent: parent, Labels: labels})
	return err
}

func (e *env) rawCommit(name, key string) error {
	_, err := e.client.Commit(e.ctx, &snapshotsapi.CommitSnapshotRequest{Name: name, Key: key})
	return err
}

func (e *env) rawRemove(key string) error {
	_, err := e.client.Remove(e.ctx, &snapshotsapi.RemoveSnapshotRequest{Key: key})
	return err
}

func (e *env) rawMounts(key string) error {
	_, err := e.client.Mounts(e.ctx, &snapshotsapi.MountsRequest{Key: key})
	return err
}

func (e *env) rawUsage(key string) error {
	_, err := e.client.Usage(e.ctx, &snapshotsapi.UsageRequest{Key: key})
	return err
}

func (e *env) rawStat(key string) (snapshotsapi.Info, error) {
	r, err := e.client.Stat(e.ctx, &snapshotsapi.StatSnapshotRequest{Key: key})
	if err != nil {
		return snapshotsapi.Info{}, err
	}
	return r.Info, nil
}

func (e *env) rawUpdate(name string, labels map[string]string, paths ...string) error {
	r := &snapshotsapi.UpdateSnapshotRequest{Info: snapshotsapi.Info{Name: name, Labels: labels}}
	if paths != nil {
		r.UpdateMask = &types.FieldMask{Paths: paths}
	}
	_, err := e.client.Update(e.ctx, r)
	return err
}

// find lists the names that match.
func (e *env) find(t *testing.T, filters ...string) (names []string) {
	t.Helper()
	check(t, e.sn.Walk(e.ctx, func(_ context.Context, i snapshots.Info) error {
		names = append(names, i.Name)
		return nil
	}, filters...))
	return names
}

// ---- Names -------------------------------------------------------------------

// oddTexts are what protobuf and we take as text.
func oddTexts() map[string]string {
	var control strings.Builder
	for c := rune(1); c < 0x20; c++ {
		control.WriteRune(c)
	}
	return map[string]string{
		"two bytes":   "caf\u00e9",
		"three bytes": "\u20ac\u0800\uffff\ufeff",
		"four bytes":  "\U0001f600\U00010000\U0010ffff",
		"control":     control.String() + "\x7f\u0080\u2028",
		"quotes":      "\"'`\\\\\\\"",
		"slashes":     "/a//b/../../etc/passwd/",
		"dots":        "..",
		"spaces":      "  a\tb  ",
		"json":        "{\"a\":[null,1]}\\u0000",
		"sql":         "'); DROP TABLE snapshots; -- %s %n",
		"escapes":     "\\u0041\\x41\\101%41&amp;",
	}
}

// One snapshot's whole life under a name.
func (e *env) live(t *testing.T, what, key, name string) {
	t.Helper()
	check(t, e.rawPrepare(key, "", nil))
	i, err := e.rawStat(key)
	check(t, err)
	if i.Name != key {
		t.Errorf("%s: Stat of %q says %q", what, key, i.Name)
	}
	if got := e.find(t, "name=="+quote(key)); len(got) != 1 || got[0] != key {
		t.Errorf("%s: List by name finds %q", what, got)
	}
	check(t, e.rawMounts(key))
	check(t, e.rawUsage(key))
	check(t, e.rawUpdate(key, map[string]string{"l": key[:len(key)%100]}))
	check(t, e.rawCommit(name, key))
	check(t, e.rawView(key, name, nil))
	i, err = e.rawStat(key)
	check(t, err)
	if i.Parent != name {
		t.Errorf("%s: the parent is %q, not %q", what, i.Parent, name)
	}
	check(t, e.rawRemove(key))
	check(t, e.rawRemove(name))
	_, err = e.rawStat(name)
	wants(t, what+", removed", err, codes.NotFound)
}

func testNames(t *testing.T, e *env) {
	for what, text := range oddTexts() {
		e.live(t, what, e.name("k"+text), e.name("n"+text))
	}
	e.live(t, "longest", strings.Repeat("k", 4096), strings.Repeat("n", 4096))
	e.live(t, "longest in bytes", strings.Repeat("\u20ac", 1365)+"k", strings.Repeat("\u20ac", 1365)+"n")
	e.live(t, "a slash", "/", "//")
	e.live(t, "a dot", ".", "..")
}

func testNamesRefused(t *testing.T, e *env) {
	check(t, e.rawPrepare(e.name("key"), "", nil))
	for _, tc := range []struct {
		what, name string
		parts      []string
	}{
		{"empty", "", []string{"empty"}},
		{"too long", strings.Repeat("x", 4097), []string{"longer than 4096 bytes"}},
		{"much too long", strings.Repeat("x", 1<<20), []string{"longer than 4096 bytes"}},
		{"NUL", "a\x00b", []string{"UTF-8"}},
		{"half a letter", "a\xc3", []string{"UTF-8"}},
		{"too long a form", "\xc0\xaf", []string{"UTF-8"}},
		{"surrogate", "\xed\xa0\x80", []string{"UTF-8"}},
		{"beyond Unicode", "\xf4\x90\x80\x80", []string{"UTF-8"}},
	} {
		wants(t, "Prepare, "+tc.what, e.rawPrepare(tc.name, "", nil), codes.InvalidArgument, tc.parts...)
		wants(t, "View, "+tc.what, e.rawView(tc.name, "", nil), codes.InvalidArgument, tc.parts...)
		wants(t, "Commit, "+tc.what, e.rawCommit(tc.name, e.name("key")), codes.InvalidArgument, tc.parts...)
		want := codes.NotFound // no snapshot has such a name
		if tc.parts[0] == "UTF-8" {
			want = codes.InvalidArgument
		}
		_, err := e.rawStat(tc.name)
		wants(t, "Stat, "+tc.what, err, want)
		wants(t, "Remove, "+tc.what, e.rawRemove(tc.name), want)
		wants(t, "Mounts, "+tc.what, e.rawMounts(tc.name), want)
		wants(t, "Usage, "+tc.what, e.rawUsage(tc.name), want)
		wants(t, "Update, "+tc.what, e.rawUpdate(tc.name, nil), want)
		if tc.name != "" {
			wants(t, "parent, "+tc.what, e.rawPrepare(e.name("x"), tc.name, nil), want)
		}
	}
}

// ---- Labels ------------------------------------------------------------------

func testLabelKeys(t *testing.T, e *env) {
	key := e.name("key")
	check(t, e.rawPrepare(key, "", nil))
	for what, text := range oddTexts() {
		l := "k." + text
		check(t, e.rawUpdate(key, map[string]string{l: text}, "labels."+l))
		i, err := e.rawStat(key)
		check(t, err)
		if !reflect.DeepEqual(i.Labels, map[string]string{l: text}) {
			t.Errorf("%s: the labels are %q", what, i.Labels)
		}
		if got := e.find(t, "labels."+quote(l)+"=="+quote(text)); len(got) != 1 {
			t.Errorf("%s: List by label finds %q", what, got)
		}
		check(t, e.rawUpdate(key, nil, "labels."+l))
		if i, err = e.rawStat(key); err != nil || len(i.Labels) != 0 {
			t.Errorf("%s: after removal %q, %v", what, i.Labels, err)
		}
	}
}

func many(n int) map[string]string {
	m := map[string]string{}
	for i := 0; i < n; i++ {
		m[fmt.Sprintf("l%d", i)] = "v"
	}
	return m
}

func testLabelLimits(t *testing.T, e *env) {
	big := map[string]string{}
	for i := 0; i < 30; i++ {
		big[fmt.Sprintf("l%d", i)] = strings.Repeat("v", 4000)
	}
	check(t, e.rawPrepare(e.name("update"), "", nil))
	check(t, e.rawPrepare(e.name("commit"), "", nil))
	for i, tc := range []struct {
		what   string
		labels map[string]string
		part   string // "": allowed
	}{
		{"longest", map[string]string{"key": strings.Repeat("v", 4093)}, ""},
		{"longest key", map[string]string{strings.Repeat("k", 4095): "v"}, ""},
		{"most", many(1024), ""},
		{"no value", map[string]string{"k": ""}, ""},
		{"too long", map[string]string{"key": strings.Repeat("v", 4094)}, "longer than 4096"},
		{"too long a key", map[string]string{strings.Repeat("k", 4096): "v"}, "longer than 4096"},
		{"too many", many(1025), "more than 1024"},
		{"too much", big, "longer than"},
		{"no key", map[string]string{"": "v"}, "no name"},
	} {
		key := e.name(fmt.Sprintf("k%d", i))
		want := codes.OK
		if tc.part != "" {
			want = codes.InvalidArgument
		}
		wants(t, "Prepare, "+tc.what, e.rawPrepare(key, "", tc.labels), want, tc.part)
		wants(t, "View, "+tc.what, e.rawView(key+"v", "", tc.labels), want, tc.part)
		wants(t, "Update, "+tc.what, e.rawUpdate(e.name("update"), tc.labels), want, tc.part)
		if tc.part == "" {
			continue
		}
		_, err := e.client.Commit(e.ctx, &snapshotsapi.CommitSnapshotRequest{
			Name: key, Key: e.name("commit"), Labels: tc.labels})
		wants(t, "Commit, "+tc.what, err, want, tc.part)
		_, err = e.rawStat(key)
		wants(t, "after "+tc.what, err, codes.NotFound)
	}
	// what a refused Commit leaves can be committed
	check(t, e.rawCommit(e.name("name"), e.name("commit")))
	// one by one, too
	wants(t, "one too many", e.rawUpdate(e.name("update"), map[string]string{"one": "more"}), codes.OK)
	check(t, e.rawUpdate(e.name("update"), many(1024)))
	wants(t, "one too many", e.rawUpdate(e.name("update"), map[string]string{"one": "more"}, "labels.one"),
		codes.InvalidArgument, "more than 1024")
	check(t, e.rawUpdate(e.name("update"), map[string]string{"l5": "other"}, "labels.l5"))
}

func testMasks(t *testing.T, e *env) {
	e.layer(t, "committed", "", func(string) {})
	e.prepare(t, "active", "committed")
	check(t, e.rawView(e.name("view"), e.name("committed"), nil))
	start := map[string]string{"a": "1", "b": "2"}
	in := map[string]string{"a": "", "b": "3", "c": "4"}
	for _, kind := range []string{"active", "view", "committed"} {
		key := e.name(kind)
		for _, tc := range []struct {
			paths []string
			want  map[string]string // nil: refused
		}{
			{nil, map[string]string{"b": "3", "c": "4"}},
			{[]string{"labels"}, map[string]string{"b": "3", "c": "4"}},
			{[]string{"labels.a"}, map[string]string{"b": "2"}},
			{[]string{"labels.b"}, map[string]string{"a": "1", "b": "3"}},
			{[]string{"labels.c"}, map[string]string{"a": "1", "b": "2", "c": "4"}},
			{[]string{"labels.absent"}, start},
			{[]string{"labels.b", "labels.c", "labels.b"}, map[string]string{"a": "1", "b": "3", "c": "4"}},
			{[]string{"labels.c", "labels"}, map[string]string{"b": "3", "c": "4"}},
			{[]string{"name"}, nil},
			{[]string{"parent"}, nil},
			{[]string{"kind"}, nil},
			{[]string{"created_at"}, nil},
			{[]string{"updated_at"}, nil},
			{[]string{"labels."}, nil},
			{[]string{"labels.b", "kind"}, nil},
			{[]string{"Labels"}, nil},
			{[]string{"label"}, nil},
			{[]string{"labelsx.b"}, nil},
			{[]string{""}, nil},
			{[]string{"*"}, nil},
		} {
			what := fmt.Sprintf("%s, mask %q", kind, tc.paths)
			check(t, e.rawUpdate(key, start))
			was, err := e.rawStat(key)
			check(t, err)
			err = e.rawUpdate(key, in, tc.paths...)
			now, err1 := e.rawStat(key)
			check(t, err1)
			if tc.want == nil {
				wants(t, what, err, codes.InvalidArgument, "cannot be changed")
				if !reflect.DeepEqual(was, now) {
					t.Errorf("%s: refused, but %v became %v", what, was, now)
				}
				continue
			}
			wants(t, what, err, codes.OK)
			if !reflect.DeepEqual(now.Labels, tc.want) {
				t.Errorf("%s: labels %v, want %v", what, now.Labels, tc.want)
			}
			if !now.UpdatedAt.After(was.UpdatedAt) || !now.CreatedAt.Equal(was.CreatedAt) {
				t.Errorf("%s: times %v %v, were %v %v", what, now.CreatedAt, now.UpdatedAt,
					was.CreatedAt, was.UpdatedAt)
			}
			now.Labels, now.UpdatedAt, was.Labels, was.UpdatedAt = nil, time.Time{}, nil, time.Time{}
			if !reflect.DeepEqual(was, now) {
				t.Errorf("%s: %v became %v", what, was, now)
			}
		}
	}
	wants(t, "missing", e.rawUpdate(e.name("none"), in, "labels"), codes.NotFound, e.name("none"))
	_, err := e.client.Update(e.ctx, &snapshotsapi.UpdateSnapshotRequest{})
	wants(t, "no info", err, codes.NotFound) // gogo sends an empty one
}

// ---- Kinds, states, parents --------------------------------------------------

func testParents(t *testing.T, e *env) {
	e.layer(t, "committed", "", func(string) {})
	e.prepare(t, "active", "")
	check(t, e.rawView(e.name("view"), "", nil))
	e.layer(t, "removed", "", func(string) {})
	e.remove(t, "removed")
	n := 0
	for _, tc := range []struct {
		parent string
		want   codes.Code
		part   string
	}{
		{"", codes.OK, ""},
		{"committed", codes.OK, ""},
		{"active", codes.InvalidArgument, "not committed"},
		{"view", codes.InvalidArgument, "not committed"},
		{"removed", codes.NotFound, "does not exist"},
		{"none", codes.NotFound, "does not exist"},
	} {
		for what, call := range map[string]func(string, string, map[string]string) error{
			"Prepare": e.rawPrepare, "View": e.rawView} {
			n++
			key := e.name(fmt.Sprintf("k%d", n))
			wants(t, what+" on "+tc.parent, call(key, e.name(tc.parent), nil), tc.want, tc.part)
			i, err := e.rawStat(key)
			if tc.want != codes.OK {
				wants(t, what+" that failed", err, codes.NotFound)
			} else if err != nil || i.Parent != e.name(tc.parent) {
				t.Errorf("%s on %q: the parent is %q, %v", what, tc.parent, i.Parent, err)
			}
			for _, taken := range []string{"committed", "active", "view"} {
				want := tc.want // a missing parent is said first
				if want == codes.OK {
					want = codes.AlreadyExists
				}
				wants(t, what+" of "+taken, call(e.name(taken), e.name(tc.parent), nil), want)
			}
			// removed, a name is free at once
			if tc.want == codes.OK {
				check(t, e.rawRemove(key))
				check(t, call(key, e.name(tc.parent), nil))
			}
		}
	}
}

// Of several for one key one wins; those for others do not meet it.
func testPrepareAtOnce(t *testing.T, e *env) {
	won := 0
	for _, err := range e.atOnce(24, func(i int) error {
		if i%2 == 0 {
			return e.rawPrepare(e.name("key"), "", nil)
		}
		return e.rawView(e.name(fmt.Sprintf("other%d", i)), "", nil)
	}) {
		if err == nil {
			won++
		} else {
			wants(t, "Prepare at once", err, codes.AlreadyExists, e.name("key"))
		}
	}
	if won != 1+12 {
		t.Errorf("%d calls succeeded, of 12 for one key and 12 for others", won)
	}
	check(t, e.rawMounts(e.name("key")))
}

func testCommitStates(t *testing.T, e *env) {
	e.layer(t, "committed", "", func(string) {})
	e.prepare(t, "active", "")
	e.prepare(t, "other", "")
	check(t, e.rawView(e.name("view"), "", nil))
	for _, tc := range []struct {
		key, name string
		want      codes.Code
		part      string
	}{
		{"none", "new", codes.NotFound, "does not exist"},
		{"view", "new", codes.FailedPrecondition, "not active"},
		{"committed", "new", codes.FailedPrecondition, "not active"},
		{"active", "committed", codes.AlreadyExists, "already exists"},
		{"active", "other", codes.AlreadyExists, "already exists"},
		{"active", "view", codes.AlreadyExists, "already exists"},
		{"active", "active", codes.AlreadyExists, "already exists"},
		{"active", "new", codes.OK, ""},
		{"active", "newer", codes.NotFound, "does not exist"},
		{"other", "active", codes.OK, ""}, // a key that became free
	} {
		err := e.rawCommit(e.name(tc.name), e.name(tc.key))
		wants(t, fmt.Sprintf("Commit of %s to %s", tc.key, tc.name), err, tc.want, tc.part)
	}
	// of two at once one wins
	e.prepare(t, "race", "")
	errs := e.atOnce(8, func(i int) error {
		return e.rawCommit(e.name(fmt.Sprintf("race%d", i)), e.name("race"))
	})
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if c := status.Code(err); c != codes.NotFound && c != codes.FailedPrecondition {
			t.Errorf("Commit at once: %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of 8 commits of one snapshot succeeded", won)
	}
}

// atOnce runs n calls at the same time.
func (e *env) atOnce(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := 0; i < n; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			errs[i] = fn(i)
		}(i)
	}
	wg.Wait()
	return errs
}

func testRemoveStates(t *testing.T, e *env) {
	e.layer(t, "base", "", func(string) {})
	children := map[string]func() error{
		"an active one": func() error { return e.rawPrepare(e.name("child"), e.name("base"), nil) },
		"a view":        func() error { return e.rawView(e.name("child"), e.name("base"), nil) },
		"a committed one": func() error {
			if err := e.rawPrepare(e.name("x"), e.name("base"), nil); err != nil {
				return err
			}
			return e.rawCommit(e.name("child"), e.name("x"))
		},
	}
	for what, make := range children {
		check(t, make())
		wants(t, "Remove with "+what, e.rawRemove(e.name("base")), codes.FailedPrecondition,
			"remove", "children", e.name("base"))
		_, err := e.rawStat(e.name("base"))
		check(t, err)
		e.remove(t, "child")
	}
	e.remove(t, "base")
	wants(t, "Remove twice", e.rawRemove(e.name("base")), codes.NotFound, "does not exist")
	e.prepare(t, "race", "")
	won := 0
	for _, err := range e.atOnce(8, func(int) error { return e.rawRemove(e.name("race")) }) {
		if err == nil {
			won++
		} else {
			wants(t, "Remove at once", err, codes.NotFound)
		}
	}
	if won != 1 {
		t.Errorf("%d of 8 removals of one snapshot succeeded", won)
	}
}

func testStates(t *testing.T, e *env) {
	e.layer(t, "committed", "", func(string) {})
	e.prepare(t, "active", "committed")
	check(t, e.rawView(e.name("view"), e.name("committed"), nil))
	e.prepare(t, "removed", "")
	e.remove(t, "removed")
	for _, tc := range []struct {
		key          string
		kind         snapshotsapi.Kind
		found, mount codes.Code
	}{
		{"active", snapshotsapi.KindActive, codes.OK, codes.OK},
		{"view", snapshotsapi.KindView, codes.OK, codes.OK},
		{"committed", snapshotsapi.KindCommitted, codes.OK, codes.FailedPrecondition},
		{"removed", snapshotsapi.KindUnknown, codes.NotFound, codes.NotFound},
		{"none", snapshotsapi.KindUnknown, codes.NotFound, codes.NotFound},
	} {
		key := e.name(tc.key)
		i, err := e.rawStat(key)
		wants(t, "Stat of "+key, err, tc.found)
		if i.Kind != tc.kind {
			t.Errorf("%s is %v", key, i.Kind)
		}
		wants(t, "Usage of "+key, e.rawUsage(key), tc.found)
		wants(t, "Mounts of "+key, e.rawMounts(key), tc.mount)
	}
}

// ---- Times -------------------------------------------------------------------

func testTimes(t *testing.T, e *env) {
	fine := false
	for i := 0; i < 10; i++ {
		key, name := fmt.Sprintf("k%d", i), fmt.Sprintf("n%d", i)
		before := time.Now()
		e.prepare(t, key, "")
		after := time.Now()
		a, err := e.rawStat(e.name(key))
		check(t, err)
		if a.CreatedAt.Before(before) || a.CreatedAt.After(after) || !a.CreatedAt.Equal(a.UpdatedAt) {
			t.Errorf("created %v, updated %v, between %v and %v", a.CreatedAt, a.UpdatedAt, before, after)
		}
		check(t, e.rawUpdate(e.name(key), map[string]string{"a": "b"}))
		b, err := e.rawStat(e.name(key))
		check(t, err)
		if !b.CreatedAt.Equal(a.CreatedAt) || !b.UpdatedAt.After(a.UpdatedAt) || b.UpdatedAt.After(time.Now()) {
			t.Errorf("after Update: %v %v, were %v", b.CreatedAt, b.UpdatedAt, a.CreatedAt)
		}
		e.commit(t, name, key)
		c, err := e.rawStat(e.name(name))
		check(t, err)
		if !c.CreatedAt.After(b.UpdatedAt) || !c.CreatedAt.Equal(c.UpdatedAt) || c.CreatedAt.After(time.Now()) {
			t.Errorf("after Commit: %v %v, were %v", c.CreatedAt, c.UpdatedAt, b.UpdatedAt)
		}
		again, err := e.rawStat(e.name(name))
		check(t, err)
		if !reflect.DeepEqual(c, again) {
			t.Errorf("Stat twice: %v, %v", c, again)
		}
		fine = fine || a.CreatedAt.Nanosecond()%1000 != 0
	}
	if !fine {
		t.Error("no time is finer than a microsecond")
	}
}
