#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# io.daxfs.Monitor: what it says, and that it waits for nobody.

load helpers
load snapshotter

setup() {
	need root fuse python3
	scratch
	printf '[snapshotter]\npool_size = 256M\npool_branches = 64\n' >conf
	snapshotter_start --config conf
}

teardown() {
	snapshotter_end
}

status() {
	run_x "$VCALL" "$S/state/daxfs.sock" io.daxfs.Monitor.GetStatus
}

metrics() {
	call io.daxfs.Monitor.GetMetrics | jq -r .text >metrics
	# jq adds one newline to what ends with one
	sed -i '$ { /^$/d }' metrics
	run_x "$REPO/tests/tools/promcheck" <metrics
}

@test "status" {
	layer one "" 100000
	layer two one
	active c1 two
	active c2 two
	call io.daxfs.Snapshots.View '{"key": "v", "parent": "one"}'
	status
	jq -e '.status | .healthy and .serving and .problems == [] and
		.warnings == []' <<<"$output"
	jq -e '.status.snapshots == {view: 1, active: 2, committed: 2,
		preparing: 0, committing: 0, removing: 0, lost: 0}' <<<"$output"
	jq -e --arg s "$S" '.status | .root == $s + "/root" and
		.state == $s + "/state" and .pool == $s + "/root/pool.daxfs"' <<<"$output"
	jq -e --argjson pid "$SNAPSHOTTER" '.status.pid == $pid' <<<"$output"
	jq -e '.status.stats | .branches_created == 5 and .seals == 2 and
		.branches_sealed == 2 and .data_bytes >= 100000' <<<"$output"
	jq -e '.status.front.mounts >= 3' <<<"$output"
	snapshotter_stop
	snapshotter_start --config conf
	status
	jq -e '.status.start | .snapshots == 5 and .branches_remade == 0' <<<"$output"
}

@test "metrics" {
	metrics
	layer one "" 100000
	active c1 one
	head -c 50000 /dev/zero >state/mnt/2/f && sync state/mnt/2/f
	run call io.daxfs.Snapshots.Stat '{"key": "none"}'
	assert_failure
	run call io.daxfs.Snapshots.None
	assert_failure
	metrics
	run_x cat metrics
	assert_line 'daxfs_snapshotter_snapshots{kind="active"} 1'
	assert_line 'daxfs_snapshotter_snapshots{kind="committed"} 1'
	assert_line 'daxfs_snapshotter_call_seconds_count{method="Snapshots.Prepare",code="OK"} 2'
	assert_line 'daxfs_snapshotter_call_seconds_count{method="Snapshots.Stat",code="NotFound"} 1'
	assert_line 'daxfs_snapshotter_call_seconds_count{method="unknown",code="MethodNotFound"} 1'
	assert_line 'daxfs_region_up 1'
	assert_line 'daxfs_region_branches{state="sealed"} 1'
	assert_line 'daxfs_region_branches_created_total 2'
	assert_line 'daxfs_region_branch_slots 64'
	assert_line 'daxfs_fuse_written_bytes_total 150000'
	assert_line --regexp '^daxfs_fuse_requests_total\{op="write"\} [1-9]'
	assert_line --regexp '^daxfs_region_used_bytes [1-9]'
	assert_line --regexp '^daxfs_snapshotter_start_time_seconds [0-9]+\.[0-9]{9}$'
}

@test "what was removed is counted until it is freed" {
	active c1
	kill -STOP "$(servers)"
	call io.daxfs.Snapshots.Remove '{"key": "c1"}'
	metrics
	run_x cat metrics
	assert_line 'daxfs_snapshotter_removed_waiting 1'
	assert_line 'daxfs_snapshotter_snapshots{kind="active"} 0'
	kill -CONT "$(servers)"
	call io.daxfs.Snapshots.Cleanup
	metrics
	run_x grep removed_waiting metrics
	assert_line 'daxfs_snapshotter_removed_waiting 0'
}

@test "daxfs-fuse does not answer" {
	local i pids=()

	layer one
	kill -STOP "$(servers)"
	# more at once than there are workers; others are served meanwhile
	for i in {1..10}; do
		timeout 50 "$VCALL" "$S/state/daxfs.sock" io.daxfs.Monitor.GetMetrics \
			>"m$i" 3>&- &
		pids+=($!)
	done
	run_x "$VCALL" "$S/state/daxfs.sock" io.daxfs.Snapshots.Stat '{"key": "one"}'
	for i in "${pids[@]}"; do
		wait "$i"
	done
	jq -r .text m1 >metrics
	run_x grep -c . metrics
	run_x grep -x 'daxfs_region_up 0' metrics
	run_x grep -x 'daxfs_snapshotter_snapshots{kind="committed"} 1' metrics
	run_x 1 grep daxfs_fuse_ metrics
	status
	jq -e '.status | (.healthy | not) and (.serving | not) and
		(.problems[0] | contains("does not answer"))' <<<"$output"
	jq -e '.status | has("stats") or has("front") | not' <<<"$output"
	kill -CONT "$(servers)"
	status
	jq -e '.status.healthy' <<<"$output"
}

@test "daxfs-fuse is gone, and not started to be asked" {
	local i

	kill -KILL "$(servers)"
	no_servers
	status
	jq -e '.status.problems[0] | contains("daxfs-fuse")' <<<"$output"
	assert_equal "$(servers)" ""
	layer one # starts it
	status
	jq -e '.status.healthy' <<<"$output"
}

@test "a pool that is nearly used up" {
	local i params=()

	for i in {1..58}; do # of 64, with main
		params+=(io.daxfs.Snapshots.Prepare "{\"key\": \"k$i\"}")
	done
	call "${params[@]}" >/dev/null
	status
	jq -e '.status | .healthy and (.warnings | length == 1) and
		(.warnings[0] | test("^92% of the pool.s branches"))' <<<"$output"
	params=()
	for i in {59..63}; do
		params+=(io.daxfs.Snapshots.Prepare "{\"key\": \"k$i\"}")
	done
	call "${params[@]}" >/dev/null
	status
	jq -e '.status | (.healthy | not) and
		(.problems[0] | test("^100% of the pool.s branches"))' <<<"$output"
}

@test "a snapshot that is lost, until it is removed" {
	layer one
	snapshotter_stop
	no_servers
	daxfs-branch delete s-1 root/pool.daxfs
	snapshotter_start --config conf
	status
	jq -e '.status | .snapshots.lost == 1 and (.healthy | not) and
		(.problems[0] | startswith("1 snapshot was lost"))' <<<"$output"
	call io.daxfs.Snapshots.Remove '{"key": "one"}'
	status
	jq -e '.status | .snapshots.lost == 0 and .healthy' <<<"$output"
}

@test "the interface is described" {
	run_x "$VCALL" "$S/state/daxfs.sock" org.varlink.service.GetInterfaceDescription \
		'{"interface": "io.daxfs.Monitor"}'
	jq -e '.description | contains("method GetMetrics() -> (text: string)")' <<<"$output"
}
