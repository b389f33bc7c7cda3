#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the server and its keeper: nothing that was written is lost.

load helpers

setup() {
	need root fuse
	scratch
	mkdir mnt
	mkdaxfs -o r -s 256M -w >/dev/null
}

@test "what is there when the server is killed is there afterwards" {
	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
	cp -a /usr/include/linux mnt/
	echo first >mnt/f
	mv mnt/f mnt/g
	rm mnt/linux/fs.h
	kill_server
	# Users of the dead mount get an answer.
	run_x 1 cat mnt/g
	assert_output --partial "Transport endpoint is not connected"
	# The dead mount is taken away by mounting there again.
	run_x daxfs-fuse r mnt -o branch=b
	assert_equal "$(cat mnt/g)" first
	run_x 1 diff -r /usr/include/linux mnt/linux
	assert_output "Only in /usr/include/linux: fs.h"
	umount mnt
	no_servers
	run_x daxfs-inspect validate r
}

@test "daxfs umount takes a dead mount away, also with --lazy and --keep" {
	local option

	for option in "" --lazy --keep; do
		run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
		kill_server
		run_x 2 ls mnt
		# shellcheck disable=SC2086 # none is no argument
		run_x daxfs umount $option mnt
		assert_equal "$(scratch_mounts)" ""
		run_x daxfs-branch delete b -r r
	done
}

@test "killed while it writes: finished files are whole, the region valid" {
	local round i n=0 writer

	mkdir want
	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
	for round in 1 2 3 4 5 6; do
		(
			for i in {1..2000}; do
				seq "$i" $((i * 20)) >mnt/tmp || exit 0
				mv mnt/tmp "mnt/$round.$i" || exit 0
				echo "$i" >"$S/want/$round"
				ln "mnt/$round.$i" "mnt/l.$i"
				rm -f "mnt/l.$((i - 3))"
			done
		) 3>&- 2>/dev/null &
		writer=$!
		# However slow the machine is, there is something to lose.
		for _ in {1..500}; do
			[[ $(cat want/$round 2>/dev/null || echo 0) -lt 10 ]] || break
			sleep 0.02
		done
		sleep 0.$((round * 7 % 10))
		kill_server
		wait "$writer" || true
		run_x daxfs-fuse r mnt -o branch=b
		for i in $(seq "$(cat want/$round)"); do
			cmp "mnt/$round.$i" <(seq "$i" $((i * 20)))
			n=$((n + 1))
		done
	done
	assert [ $n -gt 50 ]
	umount mnt
	no_servers
	run_x daxfs-inspect validate r
}

@test "files that were unlinked but open are freed when the branch is mounted" {
	local free

	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
	free=$(stat -f -c %f mnt)
	head -c 40M /dev/zero | tr '\0' x >mnt/f
	exec 5<mnt/f
	rm mnt/f
	kill_server
	exec 5<&-
	run_x daxfs-fuse r mnt -o branch=b
	assert_equal "$(ls -A mnt)" ""
	assert [ "$(stat -f -c %f mnt)" -ge $((free - 1000)) ]
	umount mnt
	no_servers
	run_x daxfs-inspect validate r
}

@test "a speculative branch is not dropped by a crash, but by its umount" {
	run_x daxfs-fuse r mnt -o branch=b,parent=main
	echo kept >mnt/f
	kill_server
	run_x daxfs-branch list --json r
	run_x jq -e '[.branches[].name] == ["main", "b"]' <<<"$output"
	run_x daxfs-fuse r mnt -o branch=b
	assert_equal "$(cat mnt/f)" kept
	umount mnt
	no_servers
	run_x daxfs-branch list --json r
	run_x jq -e '[.branches[].name] == ["main"]' <<<"$output"
}

@test "a server killed with several mounts: all can be mounted again" {
	local b

	mkdir m1 m2 m3
	for b in 1 2 3; do
		run_x daxfs-fuse r m$b -o branch=b$b,parent=main,persist
		echo $b >m$b/f
	done
	run_x daxfs-branch seal b1 -r r
	kill_server
	for b in 3 2 1; do
		run_x daxfs-fuse r m$b -o branch=b$b
		assert_equal "$(cat m$b/f)" $b
	done
	run_x 1 touch m1/new
	assert_output --partial "Read-only file system"
	umount m1 m2 m3
	no_servers
	run_x daxfs-inspect validate r
}
