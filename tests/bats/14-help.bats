#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# --help, the man pages and the exit status agree.

load helpers

# Long options that --help of a command shows.
options_of() {
	"$@" --help | grep -oE -- '^ +(-[a-z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u
}

# Those that a man page describes.
options_in() {
	sed 's/\\-/-/g' "$REPO/docs/man/$1".[18] | grep -E '^\.B[IR]? ' |
		grep -oE -- '--[a-z-]+' | sort -u
}

@test "man pages have exactly the options of --help" {
	run_x diff <(options_of mkdaxfs) <(options_in mkdaxfs)
	run_x diff <(for v in create list tree quota seal commit abort delete; do
		options_of daxfs-branch $v
	done | sort -u) <(options_in daxfs-branch)
	run_x diff <(for v in info tree branches validate; do
		options_of daxfs-inspect $v
	done | sort -u) <(options_in daxfs-inspect)
	for p in daxfs-fuse daxfs-snapshotter daxfs-grpc; do
		run_x diff <(options_of "$p") <(options_in "$p")
	done
	run_x diff <(for v in mount umount; do options_of daxfs $v; done |
		sort -u) <(options_in daxfs)
	run_x diff <(options_of daxfs status) <(options_in daxfs-status)
	run_x diff <(options_of daxfs top) <(options_in daxfs-top)
	run_x diff <(for v in ls tree usage; do options_of daxfs snapshot $v; done |
		sort -u) <(options_in daxfs-snapshot)
}

@test "man pages have exactly the verbs of --help" {
	for p in daxfs daxfs-branch daxfs-inspect; do
		while read -r verb; do
			run_x grep -qE "^\.B $verb\$" "$REPO/docs/man/$p.1"
		done < <("$p" --help | sed -nE 's/^  ([a-z]+) .*/\1/p')
	done
	while read -r verb; do
		run_x grep -qE "^\.B $verb\$" "$REPO/docs/man/daxfs-snapshot.1"
	done < <(daxfs snapshot --help | sed -nE 's/^  ([a-z]+) .*/\1/p')
}

@test "man pages are clean" {
	need groff
	for p in "$REPO"/docs/man/*.[158]; do
		run_x groff -man -ww -Tutf8 -z "$p"
		assert_output ""
	done
}

@test "help in all its forms" {
	run_x daxfs --help
	for v in mkfs branch inspect mount umount status snapshot top help; do
		assert_line --regexp "^  $v "
	done
	run_x daxfs help branch create
	assert_output --partial "daxfs-branch create NAME"
	want=$output
	run_x daxfs branch create --help
	assert_output "$want"
	run_x daxfs-branch create --help
	assert_output "$want"
	run_x daxfs --version
	assert_output --regexp '^daxfs [0-9]'
	run_x mkdaxfs --version
	assert_output --regexp '^mkdaxfs [0-9]'
}

@test "wrong verbs" {
	run_x 2 daxfs
	run_x 2 daxfs frobnicate
	assert_output --partial "'frobnicate'"
	run_x 2 daxfs-branch
	run_x 2 daxfs-branch frobnicate
	run_x 2 daxfs-inspect frobnicate r
	run_x 2 daxfs help --verb
}
