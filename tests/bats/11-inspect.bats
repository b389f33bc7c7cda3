#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# daxfs-inspect as a user runs it.

load helpers

region() {
	mkdir -p tree/dir
	printf 'hello\n' >tree/file
	printf 'x\n' >tree/dir/x
	ln -s ../file tree/dir/link
	mkdaxfs -d tree -o r -s 32M -w >/dev/null
}

@test "info: text" {
	region
	run_x daxfs-inspect info r
	assert_line --regexp '^kind +writable region$'
	assert_line --regexp '^size +33554432 \(32\.0 MiB\)$'
	assert_line --regexp '^base offset +36864$'
	assert_line --regexp '^base inodes +5$'
	assert_line --regexp '^features +base-attrs sorted-dirs segments$'
	assert_line --regexp '^branches +1 of 256$'
	assert_line --regexp '^uuid +[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
}

@test "info: JSON" {
	region
	run_x daxfs-inspect info r --json
	run_x jq -e '.path == "r" and .kind == "writable region" and
		.version == 4 and (.in_use | not) and
		.total_bytes == 33554432 and .base_offset == 36864 and
		.base_inodes == 5 and .segments == .segments_free and
		.features == ["base-attrs", "sorted-dirs", "segments"]' \
		<<<"$output"
}

@test "tree: main, then what a branch made of it" {
	region
	run_x daxfs-inspect tree r
	assert_equal "$(sed -E 's/.* (\/[^ ]*.*)/\1/' <<<"$output" | paste -sd' ')" \
		"/ /dir /dir/link -> ../file /dir/x /file"
	run_x daxfs-branch create b r
	run_x daxfs-inspect tree r --branch b
	assert_equal "${#lines[@]}" 5
	run_x 1 daxfs-inspect tree r --branch nope
	assert_output --partial "'nope'"
	assert_output --partial "'r'"
}

@test "tree: JSON has every attribute" {
	region
	chmod 2755 tree/dir
	touch -d @1234567890.5 tree/file
	mkdaxfs -d tree -o r2 >/dev/null
	run_x daxfs-inspect tree --json r2
	json=$output
	run_x jq -e '.[] | select(.path == "/file") | .mode == "-rw-r--r--" and
		.size == 6 and .nlink == 1 and .mtime_sec == 1234567890 and
		.mtime_nsec == 500000000' <<<"$json"
	run_x jq -e '.[] | select(.path == "/dir") | .mode == "drwxr-sr-x"' \
		<<<"$json"
	run_x jq -e '.[] | select(.path == "/dir/link") | .target == "../file"' \
		<<<"$json"
	run_x jq -e 'length == 5 and .[0].path == "/" and .[0].ino == 1' \
		<<<"$json"
}

@test "branches: names, states, nesting" {
	region
	daxfs-branch create a r >/dev/null
	daxfs-branch create a1 -p a r >/dev/null
	daxfs-branch create b r >/dev/null
	daxfs-branch seal b r >/dev/null
	LC_ALL=C run_x daxfs-inspect branches r
	assert_line --index 0 --regexp '^main +active '
	assert_line --index 1 --regexp '^\|- a +active '
	assert_line --index 2 --regexp '^\|  `- a1 +active '
	assert_line --index 3 --regexp '^`- b +sealed '
	run_x daxfs-inspect branches --json r
	run_x jq -e '[.branches[] | [.name, .parent, .state]] ==
		[["main", null, "active"], ["a", "main", "active"],
		["a1", "a", "active"], ["b", "main", "sealed"]]' <<<"$output"
}

@test "validate: valid ones" {
	region
	run_x daxfs-inspect validate r
	assert_output "r: valid"
	run_x daxfs-inspect validate --json r
	run_x jq -e '.path == "r" and .valid' <<<"$output"
	mkdaxfs -d tree -o static >/dev/null
	run_x daxfs-inspect validate static
	mkdaxfs -o empty -s 16M -w >/dev/null
	run_x daxfs-inspect validate empty
}

# Damage the first entry of the newest log segment.
damage_log() {
	local at
	at=$(grep -obUaP 'dlog' "$1" | tail -n 1 | cut -d: -f1)
	printf '\xff' | dd of="$1" bs=1 seek=$((at + 64 + 24)) conv=notrunc \
		status=none
}

@test "validate --repair: a damaged log is cut, the rest is whole" {
	need root fuse
	region
	mkdir mnt
	run_x daxfs-branch create keep -m mnt --persist r
	echo kept >mnt/kept
	run_x daxfs umount mnt
	run_x daxfs-branch create hurt -m mnt --persist r
	echo lost >mnt/lost
	run_x daxfs umount mnt
	no_servers
	damage_log r
	run_x 1 daxfs-inspect validate r
	assert_output --partial "branch 'hurt': corrupt log"
	run_x 1 daxfs-inspect validate --json r
	run_x jq -e '(.valid | not) and .damaged[0].branch == "hurt"' \
		<<<"$output"
	run_x daxfs-branch list r
	assert_line --regexp '^hurt +main +damaged '
	run_x daxfs-branch list --json r
	run_x jq -e '[.branches[] | select(.damaged) | .name] == ["hurt"]' \
		<<<"$output"
	# the others can be used
	run_x daxfs mount r mnt -o branch=keep
	assert_equal "$(cat mnt/kept)" kept
	run_x daxfs umount mnt
	no_servers
	run_x 1 daxfs mount r mnt -o branch=hurt
	run_x daxfs-inspect validate --repair r
	assert_output --partial "branch 'hurt'"
	assert_output --partial "repaired"
	run_x daxfs-inspect validate r
	assert_output "r: valid"
	run_x daxfs mount r mnt -o branch=hurt
	assert [ ! -e mnt/lost ]
	echo again >mnt/again
	run_x daxfs umount mnt
}

@test "looking changes nothing" {
	region
	daxfs-branch create a r >/dev/null
	sum=$(cksum <r)
	chmod 400 r
	for v in info tree branches validate; do
		run_x daxfs-inspect $v r
	done
	assert_equal "$(cksum <r)" "$sum"
}

@test "a region in use: info and tree still look, validate says why not" {
	region
	exec 9<r
	flock 9
	run_x daxfs-inspect info r
	assert_line --regexp '^kind +writable region, in use$'
	run_x daxfs-inspect tree r
	assert_equal "${#lines[@]}" 5
	run_x 1 daxfs-inspect validate r
	assert_output --partial "'r': in use"
	exec 9>&-
}

@test "branches of a mounted region come from its server" {
	need root fuse
	region
	mkdir mnt
	run_x daxfs-branch create a -m mnt r
	echo more >mnt/new
	run_x daxfs-inspect branches r --json
	# shellcheck disable=SC2016 # $m is jq's
	run_x jq -e --arg m "$S/mnt" '.branches[] | select(.name == "a") |
		.mountpoints == [$m]' <<<"$output"
	run_x daxfs-inspect info r
	assert_output --partial ", in use"
	umount mnt
}

@test "what is missing is named" {
	run_x 1 daxfs-inspect info none
	assert_output --partial "'none'"
	run_x 2 daxfs-inspect info
	run_x 2 daxfs-inspect tree r extra
	mkdir d
	run_x 1 daxfs-inspect validate d
	assert_output --partial "'d': is a directory"
}
