// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
)

const ref = "containerd.io/snapshot.ref"

func chain(s string) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s)))
}

func refTo(chain string) map[string]string {
	return map[string]string{ref: chain, "other": "label"}
}

// byRef is what containerd asks when Prepare said that a chain is there.
func (e *env) byRef(t *testing.T, chain, parent string) []string {
	t.Helper()
	return e.find(t, fmt.Sprintf("labels.%q==%s,parent==%q", ref, chain, parent))
}

// unpack makes a layer as containerd does: its name ends with the chain id.
func (e *env) unpack(t *testing.T, text, parent, content string) (chainID, name string) {
	t.Helper()
	chainID = chain(t.Name() + text)
	name = "1/" + chainID
	e.layer(t, name, parent, func(dir string) { write(t, dir+"/f", content) })
	return chainID, name
}

func testRef(t *testing.T, e *env) {
	unknown := chain("unknown")
	check(t, e.rawPrepare(e.name("unknown"), "", refTo(unknown)))
	if got := e.byRef(t, unknown, ""); len(got) != 1 {
		t.Errorf("an unknown chain is an active snapshot with that label: %q", got)
	}
	id, name := e.unpack(t, "layer", "", "content")
	if got := e.byRef(t, id, ""); len(got) != 0 {
		t.Errorf("before it is asked for: %q", got)
	}
	wants(t, "a known chain", e.rawPrepare(e.name("a"), "", refTo(id)), codes.AlreadyExists, id)
	got := e.byRef(t, id, "")
	if len(got) != 1 || got[0] != e.name("a") {
		t.Fatalf("containerd finds %q", got)
	}
	i, err := e.rawStat(e.name("a"))
	check(t, err)
	if i.Kind.String() != "COMMITTED" || i.Labels["other"] != "label" || i.Parent != "" {
		t.Errorf("recorded: %v", i)
	}
	wants(t, "again", e.rawPrepare(e.name("b"), "", refTo(id)), codes.AlreadyExists)
	if got := e.byRef(t, id, ""); len(got) != 1 {
		t.Errorf("asked twice, recorded %q", got)
	}
	// the one that was unpacked goes, the other stays what it is
	e.remove(t, name)
	m, err := e.sn.View(e.ctx, e.name("view"), e.name("a"))
	check(t, err)
	with(t, m, func(dir string) {
		if s := read(t, dir+"/f"); s != "content" {
			t.Errorf("f holds %q", s)
		}
	})
	// not asked for: an ordinary snapshot
	for what, labels := range map[string]map[string]string{
		"no label": nil, "empty label": {ref: ""}, "not a chain we have": {ref: "sha256:12"}} {
		check(t, e.rawPrepare(e.name(what), "", labels))
	}
	check(t, e.rawView(e.name("labelled view"), "", refTo(id)))
	wants(t, "no key", e.rawPrepare("", "", refTo(id)), codes.InvalidArgument, "empty")
	wants(t, "a key that is taken", e.rawPrepare(e.name("view"), "", refTo(unknown)), codes.AlreadyExists, "view")
	wants(t, "no such parent", e.rawPrepare(e.name("x"), e.name("none"), refTo(id)), codes.NotFound, "parent")
	wants(t, "a parent that is a view", e.rawPrepare(e.name("x"), e.name("view"), refTo(id)),
		codes.InvalidArgument, "not committed")
}

// A label may name any chain: the parents have to hold the same.
func testRefParents(t *testing.T, e *env) {
	one, oneName := e.unpack(t, "one", "", "1")
	_, twoName := e.unpack(t, "two", "", "2")
	top, _ := e.unpack(t, "top", oneName, "top")
	for _, wrong := range []string{"", twoName} {
		key := e.name("on " + wrong)
		check(t, e.rawPrepare(key, e.name(wrong), refTo(top)))
		if i, err := e.rawStat(key); err != nil || i.Kind.String() != "ACTIVE" {
			t.Errorf("on %q: %v, %v", wrong, i.Kind, err)
		}
	}
	wants(t, "the right parent", e.rawPrepare(e.name("a"), e.name(oneName), refTo(top)), codes.AlreadyExists)
	// a parent that is the same chain under another name
	wants(t, "the parent by ref", e.rawPrepare(e.name("base"), "", refTo(one)), codes.AlreadyExists)
	wants(t, "on that", e.rawPrepare(e.name("b"), e.name("base"), refTo(top)), codes.AlreadyExists)
	if got := e.byRef(t, top, e.name("base")); len(got) != 1 || got[0] != e.name("b") {
		t.Errorf("containerd finds %q", got)
	}
	wants(t, "its parent has children", e.rawRemove(e.name("base")), codes.FailedPrecondition)
	// once nobody has it, it is unpacked again
	e.remove(t, "a")
	e.remove(t, "b")
	e.removeAll(t)
	check(t, e.rawPrepare(e.name("gone"), "", refTo(one)))
}

func testRefAtOnce(t *testing.T, e *env) {
	id, _ := e.unpack(t, "layer", "", "content")
	for i, err := range e.atOnce(16, func(i int) error {
		return e.rawPrepare(e.name(fmt.Sprintf("k%d", i)), "", refTo(id))
	}) {
		wants(t, fmt.Sprintf("Prepare %d", i), err, codes.AlreadyExists)
	}
	if got := e.byRef(t, id, ""); len(got) != 1 {
		t.Errorf("recorded %q", got)
	}
}
