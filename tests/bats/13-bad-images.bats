#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Truncated, foreign and damaged images, full regions, wrong names: a message
# that names the thing, never a crash, nothing half-made.

load helpers

region() {
	mkdir -p tree/dir
	printf 'hello\n' >tree/file
	head -c 9000 /dev/zero | tr '\0' 'y' >tree/data
	ln -s file tree/link
	ln tree/file tree/dir/hard
	mkdaxfs -d tree -o good -s 2M -w >/dev/null
}

# A region with three branches and, where FUSE is, changes in their logs.
used_region() {
	region
	daxfs-branch create one good --persist >/dev/null
	if [[ $UID -eq 0 && -c /dev/fuse ]]; then
		mkdir mnt
		daxfs mount good mnt -o branch=one
		echo new >mnt/new
		echo more >>mnt/file
		mkdir mnt/d
		mv mnt/data mnt/d/moved
		ln -s target mnt/symbolic
		rm mnt/dir/hard
		umount mnt
		no_servers
	fi
	daxfs-branch seal one good >/dev/null
	daxfs-branch create two -p one good --persist >/dev/null
	daxfs-inspect validate good >/dev/null
}

# A little-endian number of N bytes at an offset of good.
number() { # OFFSET BYTES
	od -An -t "u$2" -j "$1" -N "$2" good | tr -d ' '
}

# A copy with one byte changed. Bytes: "bad" gets ~good.
flip() { # OFFSET
	local old

	old=$(od -An -t u1 -j "$1" -N 1 good | tr -d ' ')
	cp --sparse=always good bad
	# shellcheck disable=SC2059 # the format is made here
	printf "\\x$(printf %02x $((old ^ 0xff)))" |
		dd of=bad bs=1 seek="$1" conv=notrunc status=none
}

# All that reads an image must end by itself; sets $verdict.
survives() { # WHAT
	local c rc

	for c in "daxfs-inspect tree" "daxfs-inspect tree --branch two" \
		"daxfs-branch create new" "daxfs-inspect validate"; do
		rc=0
		# shellcheck disable=SC2086 # words
		verdict=$(timeout 10 $c bad 2>&1 3>&-) || rc=$?
		if [[ $rc -gt 1 || ($rc -eq 1 && $verdict != *bad* &&
			$verdict != *branch*) ]]; then
			echo "$1: $c: exit status $rc: $verdict"
			return 1
		fi
	done
}

# The damage is seen and told.
detected() { # OFFSET, TEXT (regex)
	flip "$1"
	survives "byte $1"
	if [[ ! $verdict =~ $2 || $verdict == *"bad: valid" ]]; then
		echo "byte $1: expected /$2/, got: $verdict"
		return 1
	fi
}

@test "truncated: at every page of the metadata, and in between" {
	region
	size=$(stat -c %s good)
	for at in 0 1 4095 4096 4097 8192 36864 36865 40960 53248 65536 \
		$((size / 2)) $((size - 4096)) $((size - 1)); do
		cp --sparse=always good bad
		truncate -s "$at" bad
		survives "truncated to $at"
		[[ $verdict == bad:* && $verdict != *valid ]] ||
			fail "truncated to $at: $verdict"
	done
}

@test "foreign files" {
	head -c 65536 /dev/urandom >bad
	run_x 1 daxfs-inspect validate bad
	assert_output --partial "bad: "
	head -c 65536 /dev/zero >bad
	run_x 1 daxfs-inspect info bad
	assert_output --partial "'bad'"
	cp "$(command -v daxfs)" bad
	truncate -s %4096 bad
	run_x 1 daxfs-inspect info bad
	run_x 1 daxfs-branch list bad
	assert_output --partial "'bad'"
	: >bad
	run_x 1 daxfs-inspect info bad
	run_x 1 daxfs-inspect info /dev/null
	assert_output --partial "'/dev/null'"
	run_x 1 daxfs-branch create x /dev/zero
}

@test "a mount of a bad image is refused with the reason" {
	need root fuse
	region
	mkdir mnt
	cp --sparse=always good bad
	printf XXXX | dd of=bad bs=1 conv=notrunc status=none
	run_x 1 daxfs mount bad mnt
	assert_output --partial "bad"
	run_x 32 mountpoint -q mnt
	no_servers
}

@test "superblock: every byte of version 4's layout fields" {
	region
	for at in {0..7} {12..31} {32..51} {72..87}; do
		detected "$at" 'corrupt|not a|unsupported|version|magic'
	done
}

@test "superblock: extensions and everything else" {
	region
	for at in {52..71..2} {88..160..3} {168..263..3}; do
		flip "$at"
		survives "byte $at"
	done
	# an unknown incompatible feature names its bit
	cp --sparse=always good bad
	printf '\x20' | dd of=bad bs=1 seek=176 conv=notrunc status=none
	run_x 1 daxfs-inspect info bad
	assert_output --partial "feature bit 5"
}

@test "branch table: entries in use" {
	used_region
	for slot in 0 1 2; do
		for at in 0 3 8 11 40 43 56 57 87; do
			flip $((4096 + 128 * slot + at))
			survives "branch entry $slot, byte $at"
		done
		# id, parent, state, name: their damage does not pass for valid
		for at in 0 8 56; do
			detected $((4096 + 128 * slot + at)) 'corrupt branch'
		done
	done
}

@test "branch table: loops and strangers" {
	used_region
	# entry 1's parent becomes its own child
	cp --sparse=always good bad
	id=$(number $((4096 + 256)) 1)
	# shellcheck disable=SC2059 # the format is made here
	printf "\\x$(printf %02x "$id")" |
		dd of=bad bs=1 seek=$((4096 + 128 + 8)) conv=notrunc status=none
	survives "a parent loop"
	[[ $verdict =~ corrupt ]] || fail "$verdict"
}

@test "base image: superblock and every byte of the inode table" {
	region
	base=36864
	for at in 0 3 12 16 24 25 32 35 36 48 56; do
		flip $((base + at))
		survives "base superblock, byte $at"
	done
	detected $base 'corrupt base'
	detected $((base + 12)) 'corrupt base'
	detected $((base + 36)) 'corrupt base'
	for at in {0..127..3} {128..383..11}; do
		flip $((base + 4096 + at))
		survives "inode table, byte $at"
	done
	for inode in 0 1 2 3; do
		# number, type, data offset (regular files and the root)
		detected $((base + 4096 + 64 * inode)) 'corrupt inode: inode'
		detected $((base + 4096 + 64 * inode + 5)) 'corrupt'
	done
}

@test "base image: directories and data" {
	region
	base=36864
	dir=$((base + $(number $((base + 4096 + 24)) 8)))
	for entry in 0 1 2 3; do
		for at in 0 1 4 5 8 9 16 17 270; do
			flip $((dir + 272 * entry + at))
			survives "root entry $entry, byte $at"
		done
		detected $((dir + 272 * entry + 1)) 'corrupt directory: inode 1'
		detected $((dir + 272 * entry + 9)) 'corrupt directory: inode 1'
	done
	# one bit of file data: its checksum tells, and which inode
	data=$(grep -abo yyyyyyyyyyyyyyyy good | head -n 1 | cut -d: -f1)
	detected "$((data + 4000))" 'corrupt inode: inode [0-9]+, data checksum'
}

@test "logs" {
	need root fuse
	used_region
	segments=$(number 224 8)
	step=9
	[[ -z ${LONG:-} ]] || step=1
	for ((at = 0; at < 1400; at += step)); do
		flip $((segments + at))
		survives "log, byte $at"
	done
	# the header's magic, and a byte well inside the first entries
	detected $((segments)) 'corrupt log'
	detected $((segments + 72)) 'corrupt log'
	detected $((segments + 200)) 'corrupt log'
}

@test "segment table" {
	need root fuse
	used_region
	table=$(number 216 8)
	for at in {0..95..5}; do
		flip $((table + at))
		survives "segment table, byte $at"
	done
}

@test "a full region: ENOSPC, nothing lost, space comes back" {
	need root fuse
	mkdir -p tree mnt
	echo hello >tree/file
	mkdaxfs -d tree -o r -s 2M -w >/dev/null
	run_x daxfs-branch create b -m mnt --persist r
	run_x 1 dd if=/dev/zero of=mnt/fill bs=64K conv=fsync
	assert_output --partial "No space left on device"
	assert_equal "$(cat mnt/file)" hello
	run_x 1 bash -c 'head -c 1M /dev/zero >mnt/fill2 && sync -d mnt/fill2'
	rm -f mnt/fill mnt/fill2
	sync -f mnt
	head -c 256K /dev/urandom >data
	run_x cp data mnt/data
	run_x cmp data mnt/data
	umount mnt
	no_servers
	run_x daxfs-inspect validate r
	run_x daxfs mount r mnt -o branch=b
	run_x cmp data mnt/data
	assert_equal "$(ls mnt)" $'data\nfile'
	run_x daxfs-branch abort -m mnt
	umount mnt
	no_servers
	run_x daxfs-inspect info --json r
	run_x jq -e '.segments == .segments_free' <<<"$output"
}

@test "a full file system below a sparse region: ENOSPC, the server lives" {
	need root fuse
	mkdir disk mnt
	mount -t tmpfs -o size=16m none disk
	mkdaxfs -o disk/big -s 1G -w >/dev/null
	run_x daxfs mount disk/big mnt -o branch=w,parent=main,persist
	echo keep >mnt/keep
	run_x 1 dd if=/dev/zero of=mnt/fill bs=1M
	assert_output --partial "No space left"
	assert_equal "$(cat mnt/keep)" keep
	run_x rm mnt/fill
	run_x dd if=/dev/urandom of=mnt/again bs=1M count=4 status=none
	sum=$(sha256sum <mnt/again)
	umount mnt
	no_servers
	run_x daxfs mount disk/big mnt -o branch=w
	assert_equal "$(sha256sum <mnt/again)" "$sum"
	umount mnt
	no_servers
	umount disk
}

@test "a full branch table" {
	mkdaxfs -o r -s 16M -w --branches 3 >/dev/null
	run_x daxfs-branch create a r
	run_x daxfs-branch create b r
	run_x 1 daxfs-branch create c r
	assert_output --partial "'c'"
	run_x daxfs-branch delete a r
	run_x daxfs-branch create c r
}

@test "names: second create, unknown, impossible" {
	region
	run_x daxfs-branch create a good
	run_x 1 daxfs-branch create a good
	assert_output --partial "'a'"
	run_x 1 daxfs-branch create main good
	run_x 1 daxfs-branch create b -p nope good
	assert_output --partial "'nope'"
	for v in seal commit abort delete; do
		run_x 1 daxfs-branch $v nope good
		assert_output --partial "'nope'"
		run_x 1 daxfs-branch $v main good
		assert_output --partial "main"
	done
	run_x 1 daxfs-branch create "" good
	run_x 1 daxfs-branch create a/b good
	run_x 1 daxfs-branch create a,b good
	run_x 1 daxfs-branch create $'\xff\xfe' good
	assert_output --partial "UTF-8"
	run_x 1 daxfs-branch create $'new\nline' good
	run_x 1 daxfs-branch create "$(printf 'x%.0s' {1..32})" good
	run_x daxfs-branch create "$(printf 'x%.0s' {1..31})" good
	run_x daxfs-branch list good --json
	run_x jq -e '.branches | length == 3' <<<"$output"
}

@test "names: the same with a mount, nothing is half-made" {
	need root fuse
	region
	mkdir mnt mnt2
	run_x daxfs-branch create a -m mnt good
	run_x 1 daxfs-branch create a -m mnt2 good
	assert_output --partial "a"
	run_x 1 daxfs-branch create b -m mnt2 -p nope good
	assert_output --partial "nope"
	run_x 1 daxfs-branch create c -m nowhere good
	assert_output --partial "'nowhere'"
	run_x 1 daxfs mount good mnt2 -o branch=nope
	assert_output --partial "nope"
	run_x daxfs-branch list good --json
	run_x jq -e '[.branches[].name] == ["main", "a"]' <<<"$output"
	umount mnt
	no_servers
	# without a server
	run_x 1 daxfs-branch create main -m mnt good
	assert_output --partial "'main'"
	run_x 1 daxfs-branch create b -m mnt -p nope good
	assert_output --partial "'nope'"
	run_x 1 daxfs mount good mnt -o branch=nope
	assert_output --partial "nope"
	no_servers
	run_x daxfs-inspect branches good --json
	run_x jq -e '[.branches[].name] == ["main"]' <<<"$output"
}

@test "a branch with children is not dropped" {
	region
	daxfs-branch create a good >/dev/null
	daxfs-branch create a1 -p a good >/dev/null
	for v in delete abort commit; do
		run_x 1 daxfs-branch $v a good
		assert_output --partial "'a'"
	done
	run_x daxfs-branch list good --json
	run_x jq -e '.branches | length == 3' <<<"$output"
}
