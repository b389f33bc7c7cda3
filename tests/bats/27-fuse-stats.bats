#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What daxfs-fuse counts: io.daxfs.Branches.GetStats on its control socket.

load helpers

setup() {
	need root fuse python3
	scratch
	mkdir mnt
	mkdaxfs -o r -s 64M -w >/dev/null
}

finish() {
	umount mnt
	no_servers
}

stats() { # [PARAMETERS]
	local sockets=("$DAXFS_STATE"/fuse/*.sock)

	run_x "$REPO/tests/tools/varlink-call" "${sockets[0]}" \
		io.daxfs.Branches.GetStats "$@"
}

@test "requests, bytes and errors" {
	run_x daxfs-fuse r mnt -o branch=b,parent=main
	head -c 1000000 /dev/zero >mnt/f
	sync mnt/f
	echo 3 >mnt/f && sync mnt/f
	run rmdir mnt/none
	assert_failure
	mkdir mnt/d && touch mnt/d/e
	run rmdir mnt/d
	assert_failure

	stats
	jq -e '.front.requests.mkdir == 1 and .front.requests.write >= 2' <<<"$output"
	jq -e '.front.written_bytes == 1000002 and .front.read_bytes == 0' <<<"$output"
	jq -e '.front.mounts == 1' <<<"$output"
	jq -e '.front.errors | map(select(.op == "rmdir")) ==
		[{op: "rmdir", error: "ENOTEMPTY", count: 1}]' <<<"$output"
	jq -e '.stats.branches_created == 1 and .stats.branches_active == 2' <<<"$output"
	jq -e 'has("mounts") | not' <<<"$output"

	# of each mount; the second time the kernel has the data
	umount mnt
	no_servers
	run_x daxfs-fuse r mnt -o branch=c,parent=main,persist
	head -c 300000 /dev/zero >mnt/g
	stats '{"mounts": true}'
	jq -e '.mounts | length == 1' <<<"$output"
	jq -e '.mounts[0] | .branch == "c" and .requests > 0 and
		.written_bytes == 300000' <<<"$output"
	finish
}

@test "reading" {
	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
	head -c 300000 /dev/zero >mnt/f
	umount mnt
	no_servers
	run_x daxfs-fuse r mnt -o branch=b
	cat mnt/f >/dev/null
	cat mnt/f >/dev/null # from the kernel's cache
	stats
	jq -e '.front.read_bytes >= 300000 and .front.read_bytes < 600000' <<<"$output"
	jq -e '.front.requests.read > 0 and .front.in_flight == 0' <<<"$output"
	finish
}

@test "many branches, listed by a server" {
	local i calls=()

	mkdaxfs -o many -s 64M -w --branches 1024 >/dev/null
	mv many r
	run_x daxfs-fuse r mnt -o branch=b,parent=main
	for i in {1..300}; do
		calls+=(io.daxfs.Branches.Create "{\"name\": \"n$i\"}")
	done
	"$REPO/tests/tools/varlink-call" "$DAXFS_STATE"/fuse/*.sock "${calls[@]}" >/dev/null
	run_x "$REPO/tests/tools/varlink-call" --more "$DAXFS_STATE"/fuse/*.sock \
		io.daxfs.Branches.List
	assert_equal "${#lines[@]}" 2 # in batches
	assert_equal "$(daxfs-branch list r --json | jq '.branches | length')" 302
	assert_equal "$(daxfs-branch list r | wc -l)" 303
	assert_equal "$(daxfs-branch tree r | grep -c ' active ')" 302
	finish
}
