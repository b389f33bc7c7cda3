// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/filters"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// quote makes a filter's quoted text: control characters escaped, no more, for
// Go's \u would lose what is no character.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// adapt shows a snapshot to containerd's filters, as REFERENCE has the fields.
func adapt(i *snapshotsapi.Info) filters.Adaptor {
	return filters.AdapterFunc(func(path []string) (string, bool) {
		switch path[0] {
		case "name":
			return i.Name, true
		case "parent":
			return i.Parent, true
		case "kind":
			return strings.ToLower(i.Kind.String()), true
		case "labels":
			v, ok := i.Labels[strings.Join(path[1:], ".")]
			return v, ok
		}
		return "", false
	})
}

// list is List, whole.
func (e *env) list(filters ...string) (infos []snapshotsapi.Info, err error) {
	stream, err := e.client.List(e.ctx, &snapshotsapi.ListSnapshotsRequest{Filters: filters})
	for err == nil {
		var r *snapshotsapi.ListSnapshotsResponse
		if r, err = stream.Recv(); err == nil {
			infos = append(infos, r.Info...)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return infos, err
}

func names(infos []snapshotsapi.Info) string {
	var n []string
	for _, i := range infos {
		n = append(n, i.Name)
	}
	sort.Strings(n)
	return strings.Join(n, "\n")
}

// menagerie makes snapshots that differ in what filters look at.
func (e *env) menagerie(t *testing.T) []snapshotsapi.Info {
	t.Helper()
	sets := []map[string]string{
		nil,
		{"a": "1"},
		{"a": "2", "b": "x,y"},
		{"a": "\"", "a.b": "1", "containerd.io/x-y": "/|\\"},
		{"b": " ", "caf\u00e9": "\u20ac"},
		{"a": "1\n2", "": "no"},
		{"labels": "1", "name": "x", "a b": "="},
		{"A": "ABC", "_": "a.c", "a": "aaa"},
	}
	e.layer(t, "base", "", func(string) {})
	e.layer(t, "Base", "base", func(string) {})
	for n, l := range sets {
		delete(l, "")
		parent := []string{"", "base", "Base"}[n%3]
		key := e.name(fmt.Sprintf("%d", n))
		switch n % 4 {
		case 0:
			check(t, e.rawView(key, e.name(parent), l))
		case 3:
			check(t, e.rawPrepare(key+"x", e.name(parent), nil))
			_, err := e.client.Commit(e.ctx, &snapshotsapi.CommitSnapshotRequest{Name: key, Key: key + "x", Labels: l})
			check(t, err)
		default:
			check(t, e.rawPrepare(key, e.name(parent), l))
		}
	}
	all, err := e.list()
	check(t, err)
	return all
}

// matchOperator is the operator of regular expressions in containerd's package.
const matchOperator = 3

// expressions finds the regular expressions in a parsed filter.
func expressions(v reflect.Value) (all []string) {
	switch v.Kind() {
	case reflect.Interface:
		return expressions(v.Elem())
	case reflect.Slice:
		for i := 0; i < v.Len(); i++ {
			all = append(all, expressions(v.Index(i))...)
		}
	case reflect.Struct:
		if v.FieldByName("operator").Int() == matchOperator {
			all = append(all, v.FieldByName("value").String())
		}
	}
	return all
}

// badExpression tells whether f has one that Go (RE2) does not take.
func badExpression(f filters.Filter) bool {
	for _, e := range expressions(reflect.ValueOf(f)) {
		if _, err := regexp.Compile(e); err != nil {
			return true
		}
	}
	return false
}

var stricter = regexp.MustCompile("quantifier does not follow|POSIX named classes")
var hasNUL = regexp.MustCompile(`\\(000|x00|u0000|U00000000)`)

// compare asks us and containerd's own package; false: they differ.
//
// A wrong expression finds nothing in containerd; we refuse it. And we refuse to
// repeat what matches no letter, as in \b+, [:name:] as a class of these letters,
// both of which RE2 takes, and NUL.
func (e *env) compare(t *testing.T, all []snapshotsapi.Info, fs ...string) bool {
	t.Helper()
	f, wantErr := filters.ParseAll(fs...)
	got, err := e.list(fs...)
	if wantErr == nil && err != nil && (stricter.MatchString(err.Error()) || hasNUL.MatchString(strings.Join(fs, " "))) {
		return true
	}
	if wantErr == nil && badExpression(f) {
		wantErr = errors.New("not a regular expression")
	}
	if (wantErr == nil) != (err == nil) {
		t.Errorf("%q: containerd: %v, we: %v", fs, wantErr, err)
		return false
	}
	if err != nil {
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%q: %v", fs, err)
			return false
		}
		return true
	}
	var want []snapshotsapi.Info
	for i := range all {
		if f.Match(adapt(&all[i])) {
			want = append(want, all[i])
		}
	}
	if names(got) != names(want) {
		t.Errorf("%q: containerd finds %q, we %q", fs, names(want), names(got))
		return false
	}
	return true
}

func testFilterTable(t *testing.T, e *env) {
	all := e.menagerie(t)
	for _, f := range []string{
		"", "name", "parent", "kind", "labels", "labels.a", "labels.none", "nonsense", "names",
		"name.x", "kind.x==view", "name.x==1",
		"kind==view", "kind==active", "kind==committed", "kind==VIEW", "kind!=view", "kind~=^(view|active)$",
		"name==" + e.name("1"), "name!=" + e.name("1"), "parent==", `parent==""`, `parent!=""`, "parent",
		"labels.a==1", "labels.a!=1", "labels.a~=1", "labels.none==", `labels.none==""`, `labels.none!=""`,
		`labels.none~="^$"`, `labels."a"==1`, `"labels".a==1`, `labels."a.b"==1`, "labels.a.b==1",
		`labels."containerd.io/x-y"=="/|\\"`, "labels.containerd.io/x-y", `labels."caf` + "\u00e9" + `"`,
		`labels.a=="1\n2"`, `labels.a=="1\x0a2"`, `labels.a=="1\0122"`, `labels.a=="1\u000a2"`, "labels.a==\"\\\"\"",
		`labels.a~=/^\d+$/`, `labels.a~=|^\d+$|`, `labels.a~="^\\d+$"`, `labels.a~="^\d+$"`, `labels.a~=^\d+$`,
		`labels.a~=/^a+$/`, `labels.a~=/\//`, `labels.a~=|\||`, `labels.a==/1/`, `labels.a==|1|`, "labels.a=='1'",
		"labels.A~=(?i)^abc$", "labels.A~=/(?i)^abc$/", "labels._~=/a.c/", `labels._~=/a\.c/`, `labels._~=/^a[[:punct:]]c$/`,
		"labels.a~=/1$/", "labels.a~=/(?m)1$/", "labels.a~=/1.2/", "labels.a~=/(?s)1.2/", `labels.a~=/\A1\z/`,
		"labels.a~=/(?P<x>1)/", "labels.a~=/a*?/", "labels.a~=/a{2,3}/", "labels.a~=/[/", "labels.a~=/(/", "labels.a~=/*/",
		"labels.a~=/a**/", "labels.a~=/a{1001}/", `labels.a~=/\Q.\E/`, `labels.a~=/\pL/`, `labels.a~=/\p{Greek}/`,
		"labels.a,labels.b", "labels.a , labels.b", " labels.a", "labels.a ", "labels.a == 1", "labels.a== 1", "labels.a ==1",
		"labels.a==1,kind==active", ",", "labels.a,", ",labels.a", "labels.a,,labels.b", "labels.a==1 labels.b",
		"=", "==", "==1", "labels.a=1", "labels.a===1", "labels.a=~1", "labels.a<1", "labels.a!1", "labels.a==1==1",
		"labels.a==1=1", "labels..a", "labels.", ".labels", "labels.a.", "labels a", `labels.a=="`, `labels.a=="1`,
		`labels.a==""`, `labels.a=="\q"`, `labels.a~=/\q/`, `labels.a=="\x4"`, `labels.a=="\u12"`, `labels.a=="\400"`,
		`labels.a=="\U00110000"`, "labels.a==\u20ac", "labels.caf\u00e9", "\u20ac==1", "labels.a==\"\u20ac\"", "labels.a-b==1",
		"labels.a==-1", "labels.a==a/b", "labels.a==a|b", "labels.a==/", "labels.a==a\"b", "labels.a==.", "labels.a==a.b",
		"labels.a==a=b", "labels.a==a~b", "labels.a==1\tlabels.b", "labels.a==1\n,labels.b", "labels.a\u00a0==1",
		"labels.a==1\u00a0", "labels.a==1\u2003,kind", "0", "0==1", "labels.0", "_==1", "labels._==a.c",
	} {
		e.compare(t, all, f)
	}
	e.compare(t, all, "kind==view", "labels.a==1")
	e.compare(t, all, "kind==view", "labels.a==1", "name==x")
	e.compare(t, all, "kind==view", "=")
	e.compare(t, all, "kind==view", "")
	e.compare(t, all, "", "=")
	_, err := e.list("name==" + strings.Repeat("x", 70000))
	wants(t, "a filter of 70,000 bytes", err, codes.InvalidArgument, "longer than")
	_, err = e.list(strings.Split(strings.Repeat("kind,", 1500), ",")...)
	wants(t, "1,500 filters", err, codes.InvalidArgument, "more than")
}

// ---- At random ---------------------------------------------------------------

type maker struct{ *rand.Rand }

func (m maker) one(from ...string) string { return from[m.Intn(len(from))] }

func (m maker) field() string {
	return m.one("name", "parent", "kind", "labels.a", "labels.b", `labels."a.b"`, "labels.a.b", "labels",
		`labels."containerd.io/x-y"`, `"labels"."a b"`, "labels.labels", "labels.A", "labels._", "other", "name.a",
		`labels."caf`+"\u00e9"+`"`, `labels."caf\u00e9"`)
}

func (m maker) regex() string {
	atom := func() string {
		return m.one("a", "1", "2", ".", "x", "e", "^", "$", `\d`, `\w`, `\s`, "[a-z]", "[^a-z]", "(a|1)", "(?:b|c)",
			"[[:alpha:]]", `\.`, "/", "\u20ac", `\n`, `\x41`, "(?i)", `\b`, `\S`, "view")
	}
	s := ""
	for n := m.Intn(5); n >= 0; n-- {
		s += atom() + m.one("", "", "", "*", "+", "?", "*?", "{2}", "{1,2}", "|")
	}
	return s
}

func (m maker) value(op string) string {
	if op == "~=" {
		r := m.regex()
		switch m.Intn(4) {
		case 0:
			return "/" + strings.ReplaceAll(r, "/", `\/`) + "/"
		case 1:
			return "|" + strings.ReplaceAll(r, "|", `\|`) + "|"
		case 2:
			return strconv.Quote(r)
		}
		return r
	}
	return m.one("1", "2", "view", "active", "committed", `""`, `"x,y"`, `"\""`, `"a b"`, "a", "ABC", "x", `"1\n2"`,
		"\u20ac", `" "`, "a.c", "FiltersAtRandom/base", "FiltersAtRandom/1", "/1/", `"/|\\"`, `"\x31"`)
}

func (m maker) selector() string {
	space := m.one("", "", "", "", " ", "\t")
	if m.Intn(5) == 0 {
		return space + m.field()
	}
	op := m.one("==", "!=", "~=")
	return m.field() + space + op + m.one("", "", "", " ") + m.value(op)
}

func (m maker) filter() string {
	s := m.selector()
	for m.Intn(3) == 0 {
		s += m.one(",", ",", " , ", ",,") + m.selector()
	}
	// broken: letters lost, doubled, from elsewhere
	for m.Intn(4) == 0 && s != "" {
		r := []rune(s)
		at := m.Intn(len(r))
		switch m.Intn(3) {
		case 0:
			s = string(r[:at]) + string(r[at+1:])
		case 1:
			s = string(r[:at]) + string(r[at]) + string(r[at:])
		case 2:
			s = string(r[:at]) + m.one(`"`, `\`, "/", "|", ",", ".", "=", "!", "~", " ", "(", "[", "'", "\u20ac", "9") +
				string(r[at:])
		}
	}
	return s
}

func testFilterRandom(t *testing.T, e *env) {
	all := e.menagerie(t)
	seed := time.Now().UnixNano()
	if s := os.Getenv("DAXFS_SEED"); s != "" {
		seed, _ = strconv.ParseInt(s, 10, 64)
	}
	rounds := 3000
	if os.Getenv("LONG") == "1" {
		rounds = 50000
	}
	m := maker{rand.New(rand.NewSource(seed))}
	accepted, differ := 0, 0
	for i := 0; i < rounds && differ < 20; i++ {
		fs := []string{m.filter()}
		for m.Intn(4) == 0 {
			fs = append(fs, m.filter())
		}
		if _, err := filters.ParseAll(fs...); err == nil {
			accepted++
		}
		if !printable(fs) {
			continue
		}
		if !e.compare(t, all, fs...) {
			differ++
		}
	}
	if differ > 0 {
		t.Errorf("to repeat: DAXFS_SEED=%d tests/conformance/run TestRPC/FiltersAtRandom", seed)
	}
	t.Logf("seed %d: %d of %d were filters", seed, accepted, rounds)
	if accepted < rounds/4 || accepted > rounds*19/20 {
		t.Errorf("%d of %d filters accepted: this tests one side only", accepted, rounds)
	}
}

// Filters come over protobuf as text.
func printable(fs []string) bool {
	for _, f := range fs {
		if !utf8.ValidString(f) || strings.ContainsRune(f, unicode.ReplacementChar) {
			return false
		}
	}
	return true
}
