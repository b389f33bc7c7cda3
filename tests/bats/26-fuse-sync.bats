#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# When what was written to a region on a disk becomes durable.

load helpers

setup() {
	need root fuse mkfs.ext4
	scratch
	mkdir mnt disk
	truncate -s 200M image
	mkfs.ext4 -q image
	mount -o loop image disk
	mkdaxfs -o disk/r -s 100M -w >/dev/null
}

finish() {
	umount mnt
	no_servers
	umount disk
}

# KiB of the region that the server has written and not yet synced.
unsynced() {
	awk '/^[0-9a-f]+-[0-9a-f]+ / { ours = /\/disk\/r$/ }
		ours && /_Dirty:/ { n += $2 }
		END { print n + 0 }' "/proc/$(servers)/smaps"
}

written() {
	head -c 4M /dev/urandom >mnt/f
	assert [ "$(unsynced)" -ge 4096 ]
}

@test "after the interval" {
	run_x daxfs-fuse disk/r mnt -o branch=b,parent=main --sync-interval 4
	written # in less time than that
	for _ in {1..60}; do
		[[ $(unsynced) -gt 64 ]] || break
		sleep 0.1
	done
	assert [ "$(unsynced)" -le 64 ]
	finish
}

@test "with fsync, and not before when the interval is 0" {
	run_x daxfs-fuse disk/r mnt -o branch=b,parent=main --sync-interval 0
	written
	sleep 1.5
	assert [ "$(unsynced)" -ge 4096 ]
	sync mnt/f
	assert [ "$(unsynced)" -le 64 ]
	finish
}

@test "an interval that is none" {
	run_x 2 daxfs-fuse disk/r mnt --sync-interval soon
	assert_output --partial "'soon' is not a number"
	umount disk
}
