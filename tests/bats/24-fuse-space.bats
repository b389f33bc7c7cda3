#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Space goes back to where the region lies, and nothing is lost on the way.

load helpers

setup() {
	need root fuse
	scratch
	mkdir tree tmpfs mnt
	echo base >tree/file
}

# The region's file takes so many KiB.
taken() {
	du -k "$1" | cut -f1
}

# taken_at_most REGION KIB: within a moment.
taken_at_most() {
	for _ in {1..50}; do
		[[ $(taken "$1") -gt $2 ]] || return 0
		sleep 0.1
	done
	echo "$1 takes $(taken "$1") KiB, not $2"
	return 1
}

# What is written is really there, then really gone: on disk with the next sync
# of anything on the branch.
give_back() { # REGION
	local before full

	run_x mkdaxfs -d tree -o "$1" -s 128M -w
	run_x daxfs-branch create b -m "$S/mnt" --persist -r "$1"
	echo x >mnt/small
	sync mnt/small
	before=$(taken "$1")
	for _ in 1 2; do
		head -c 20M /dev/urandom >mnt/big
		sync mnt/small
		full=$(taken "$1")
		assert [ "$full" -ge $((before + 20480)) ]
		rm mnt/big
		sync mnt/small
		taken_at_most "$1" $((before + 2048))
		# half of a file
		head -c 20M /dev/urandom >mnt/half
		truncate -s 10M mnt/half
		sync mnt/small
		taken_at_most "$1" $((before + 10240 + 2048))
		rm mnt/half
		sync mnt/small
	done
	umount mnt
	no_servers
	taken_at_most "$1" $((before + 2048))
	run_x daxfs-branch delete b -r "$1"
	run_x daxfs-inspect info --json "$1"
	run_x jq -e '.segments == .segments_free' <<<"$output"
	run_x daxfs-inspect validate "$1"
}

# Branches that are mounted, written to and dropped.
lifecycles() { # REGION COUNT
	local before i

	run_x mkdaxfs -d tree -o "$1" -s 128M -w
	daxfs-fuse --control-only -f "$1" 2>log 3>&- &
	server=$!
	for _ in {1..100}; do
		! compgen -G "state/fuse/*.sock" >/dev/null || break
		sleep 0.05
	done
	daxfs-branch list -r "$1" >/dev/null
	before=$(taken "$1")
	for ((i = 0; i < $2; i++)); do
		run_x daxfs-branch create "b$i" -m "$S/mnt" -r "$1"
		head -c 300K /dev/zero >mnt/f
		case $((i % 3)) in
		0) run_x daxfs umount mnt ;;
		1) run_x daxfs-branch delete "b$i" --force -r "$1" ;;
		2)
			run_x daxfs-branch abort "b$i" -r "$1"
			umount mnt
			;;
		esac
	done
	kill -TERM $server
	wait $server
	no_servers
	run_x daxfs-inspect info --json "$1"
	run_x jq -e '.segments == .segments_free and .branches == 1' <<<"$output"
	taken_at_most "$1" $((before + 64))
	run_x daxfs-inspect validate "$1"
}

on_tmpfs() {
	mount -t tmpfs -o size=256M tmpfs tmpfs
}

@test "a region on tmpfs gives memory back" {
	on_tmpfs
	give_back tmpfs/r
	umount tmpfs
}

@test "a region on disk gives blocks back" {
	truncate -s 1M probe
	fallocate -p -o 0 -l 4096 probe 2>/dev/null ||
		skip "no hole punching here"
	give_back r
}

@test "mounted branches come and go, the region ends as it began" {
	on_tmpfs
	lifecycles tmpfs/r "$([[ -n ${LONG:-} ]] && echo 1000 || echo 15)"
	umount tmpfs
}

@test "the same on disk" {
	lifecycles r "$([[ -n ${LONG:-} ]] && echo 1000 || echo 100)"
}

@test "mkdaxfs --branches: 256 unless told otherwise, up to 65,536" {
	run_x mkdaxfs -o r -s 64M -w --branches 65536
	run_x daxfs-inspect info --json r
	run_x jq -e '.branch_slots == 65536' <<<"$output"
	run_x daxfs-branch create b r
	run_x daxfs-branch delete b r
	run_x 2 mkdaxfs -o other -s 64M -w --branches 65537
	run_x mkdaxfs -o r256 -s 64M -w
	run_x daxfs-inspect info --json r256
	run_x jq -e '.branch_slots == 256' <<<"$output"
}
