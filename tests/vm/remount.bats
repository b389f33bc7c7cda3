#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A kernel that does not send requests again: what a killed server leaves.

load ../bats/helpers

setup() {
	need root fuse
	scratch
	mkdir mnt
	mkdaxfs -o r -s 64M -w >/dev/null
}

@test "where the kernel cannot repeat requests the branch is mounted again" {
	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
	echo there >mnt/f
	kill -KILL "$(servers)"
	for _ in {1..100}; do
		[[ $(cat mnt/f 2>/dev/null) != there ]] || break
		sleep 0.05
	done
	assert_equal "$(cat mnt/f)" there
	umount mnt
	no_servers
}
