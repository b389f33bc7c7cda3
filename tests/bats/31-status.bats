#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# daxfs status, and what its user sees when the snapshotter does not answer.

load helpers
load snapshotter

setup() {
	need root fuse python3
	scratch
	printf '[snapshotter]\npool_size = 256M\npool_branches = 64\n' >conf
}

teardown() {
	snapshotter_end
}

@test "healthy" {
	snapshotter_start --config conf
	layer one "" 100000
	active c1 one
	run_x daxfs status
	assert_line --index 0 "healthy"
	assert_line --regexp "^version +[0-9.]+, process $SNAPSHOTTER, running for [0-9]+ s$"
	assert_line "pool       $S/root/pool.daxfs"
	assert_line --regexp '^  space +[0-9.]+ [KM]iB of 255\.[0-9] MiB in use \(0%\): files 100\.0 KiB, logs'
	assert_line "  branches 3 of 64: 2 active, 1 sealed, 0 damaged"
	assert_line --regexp '^  mounts   [12]: [0-9]+ requests served, 0 B read, 97.7 KiB written$'
	assert_line "snapshots  1 committed, 1 active, 0 views"
	assert_line "last start nothing to put right"
	refute_output --partial "last error"

	run_x daxfs status --json
	jq -e '.healthy and .snapshots.active == 1 and .stats.branch_slots == 64' <<<"$output"
}

@test "not healthy says why, and exits with 1" {
	snapshotter_start --config conf
	kill -STOP "$(servers)"
	run_x 1 daxfs status
	assert_line --index 0 "NOT HEALTHY"
	assert_line --regexp '^problem +daxfs-fuse, which serves the pool, does not answer: .*no answer within'
	run_x 1 daxfs status --json
	jq -e '(.healthy | not) and (.problems | length) == 1' <<<"$output"
}

@test "what the last start put right, and the last error" {
	snapshotter_start --config conf
	layer one
	snapshotter_stop
	no_servers
	daxfs-branch delete s-1 root/pool.daxfs
	daxfs-branch create s-9 --persist root/pool.daxfs
	snapshotter_start --config conf
	run_x 1 daxfs status
	assert_line "last start branches of nobody dropped: 1"
	assert_line --regexp '^problem +1 snapshot was lost'
	assert_output --partial "; 1 lost"
	assert_line --regexp '^last error [0-9]+s ago: .*snapshot is lost.*key=one'
	call io.daxfs.Snapshots.Remove '{"key": "one"}'
	run_x daxfs status
}

@test "the snapshotter does not run" {
	run_x 1 daxfs status
	assert_output "daxfs status: '$S/state/daxfs.sock': the snapshotter does not run; start daxfs-snapshotter, or name its folder with --state"
	run_x 1 daxfs status --state elsewhere
	assert_output --partial "'elsewhere/daxfs.sock': the snapshotter does not run"
	run_x 1 bash -c 'daxfs status --json 2>/dev/null'
	jq -e '(.healthy | not) and (.problems[0] | contains("does not run"))' <<<"$output"
	for verb in "snapshot ls" "snapshot tree" "snapshot usage" "snapshot usage k" \
		"top -n 1"; do
		# shellcheck disable=SC2086 # words
		run_x 1 daxfs $verb
		assert_output "daxfs ${verb%% [k-]*}: '$S/state/daxfs.sock': the snapshotter does not run; start daxfs-snapshotter, or name its folder with --state"
	done
}

@test "permission denied" {
	need setpriv
	local nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)

	snapshotter_start --config conf
	chmod 755 "$S"
	run_x 1 "${nobody[@]}" env DAXFS_STATE="$S/state" "$BUILD/daxfs" status
	assert_output "daxfs status: '$S/state/daxfs.sock': Permission denied; ask as root, or as the user that the snapshotter's configuration names"
	# let in by the file system, but not by the snapshotter
	nobody+=(--inh-caps +dac_override --ambient-caps +dac_override)
	run_x 1 "${nobody[@]}" env DAXFS_STATE="$S/state" "$BUILD/daxfs" status
	assert_output "daxfs status: '$S/state/daxfs.sock': the snapshotter has closed the connection; ask as root, or as the user that its configuration names"
}
