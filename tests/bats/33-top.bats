#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# daxfs top: on a terminal, to a pipe, as JSON.

load helpers
load snapshotter

setup() {
	need root fuse python3
	scratch
	printf '[snapshotter]\npool_size = 256M\npool_branches = 64\n' >conf
	snapshotter_start --config conf
	layer one
	active default/1/web one >/dev/null
}

teardown() {
	[[ -z ${LOAD:-} ]] || kill "$LOAD" 2>/dev/null || true
	snapshotter_end
}

# Something to see: writes to one mount until it is ended.
load_mount() {
	(
		exec 3>&-
		while sleep 0.1; do
			head -c 100000 /dev/zero >"$S/state/mnt/2/f"
			sync "$S/state/mnt/2/f"
		done
	) &
	LOAD=$!
}

on_terminal() {
	run_x "$REPO/tests/tools/on-terminal" "$@"
}

# The first of some intervals in which the mount was written to.
@test "as JSON, an object a line" {
	local busy

	run_x daxfs top --json -d 1 -n 2
	assert_equal "${#lines[@]}" 2
	jq -e '.interval_ns >= 1000000000 and .snapshots.active == 1' <<<"${lines[1]}"
	jq -e '.pool | .branches_active == 2 and .branches_sealed == 1 and
		.capacity_bytes > .free_bytes' <<<"${lines[1]}"
	jq -e '.calls | map(select(.method == "Monitor.GetActivity"))[0] |
		.per_second > 0 and .p99_ns >= .p50_ns and .failed_per_second == 0' <<<"${lines[1]}"
	load_mount
	busy=$(timeout 60 daxfs top --json -d 1 |
		jq -cn 'first(inputs | select(.mounts[0].written_bytes_per_second > 0))')
	jq -e '.mounts[0] | .key == "default/1/web" and .branch == "s-2" and
		.requests_per_second > 0' <<<"$busy"
	jq -e '.front | .requests_per_second > 0 and .mounts >= 1' <<<"$busy"
}

@test "to a pipe, once an interval" {
	run_x bash -c 'daxfs top -d 1 -n 2 | cat'
	assert_equal "$(grep -c '^daxfs top ' <<<"$output")" 2
	assert_line --regexp '^branches: 2 active, 1 sealed, 0 damaged of 64 '
	assert_line --regexp '^Monitor.GetActivity +[0-9.]+ +0\.0 '
	run_x 1 grep -q $'\x1b' <<<"$output"
	load_mount
	run_x bash -c 'daxfs top -d 1 | grep -m 1 default/1/web'
	assert_line --regexp '^ +[0-9.]+ +[0-9.]+ [KM]?i?B +[0-9.]+ [KM]?i?B  default/1/web *$'
}

@test "on a terminal: q ends it, and the terminal is as before" {
	load_mount
	on_terminal 24x100 wait:default/1/web wait:GetActivity key:q -- daxfs top -d 1
	assert_line --partial "end: exit 0"
	assert_line --partial "terminal: as before"
	assert_output --partial $'\x1b[?1049h' # the second screen
	assert_output --partial $'\x1b[?1049l'
}

@test "a resize is followed" {
	load_mount
	on_terminal 24x100 wait:default/1/web resize:9x40 wait:REQ/S key:q -- daxfs top -d 60
	assert_line --partial "end: exit 0"
	local page
	page=$(sed -nE 's/^page: ([0-9]+) x ([0-9]+).*/\1 \2/p' <<<"$output")
	echo "page: $page"
	((${page% *} <= 9 && ${page% *} > 5 && ${page#* } <= 40 && ${page#* } > 30))
}

@test "signals: the terminal is as before" {
	on_terminal 24x80 wait:Monitor.GetActivity signal:TERM -- daxfs top -d 1
	assert_line --partial "end: signal 15"
	assert_line --partial "terminal: as before"
	on_terminal 24x80 wait:Monitor.GetActivity $'key:\x03' -- daxfs top -d 1
	assert_line --partial "end: exit 0"
	assert_line --partial "terminal: as before"
	on_terminal 24x80 wait:Monitor.GetActivity signal:TSTP $'wait:\x1b[?1049l' \
		stopped: signal:CONT $'wait:\x1b[?1049h' wait:GetActivity key:q -- daxfs top -d 1
	assert_line --partial "end: exit 0"
	assert_line --partial "terminal: as before"
}

@test "a number of times on a terminal" {
	on_terminal 24x80 -- daxfs top -d 1 -n 1
	assert_line --partial "end: exit 0"
	assert_line --partial "terminal: as before"
}

@test "the snapshotter goes away and comes again" {
	# on a terminal it goes on; elsewhere it says so and ends
	cat >again <<-END
		daxfs-snapshotter --root "$S/root" --state "$S/state" --config "$S/conf" \
			2>>"$S/log" </dev/null >/dev/null &
		echo \$! >pid
	END
	on_terminal 24x150 wait:GetActivity "run:kill -KILL $SNAPSHOTTER" \
		"wait:does not run" "run:. ./again" wait:GetActivity key:q -- \
		daxfs top -d 1
	assert_line --partial "end: exit 0"
	wait "$SNAPSHOTTER" || true
	SNAPSHOTTER=
	(
		exec 3>&-
		sleep 2
		kill -KILL "$(<pid)"
	) &
	# shellcheck disable=SC2016
	run_x 1 bash -c 'daxfs top -d 1 | cat; exit ${PIPESTATUS[0]}'
	assert_output --partial "daxfs top: '$S/state/daxfs.sock': the snapshotter does not"
	wait
}

@test "wrong options" {
	run_x 2 daxfs top -d 0
	assert_output --partial "--interval"
	run_x 2 daxfs top -d soon
	run_x 2 daxfs top now
}
