#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# daxfs-grpc with a client that is not containerd's: gRPC's C core, from Python.
# What happens when the snapshotter goes away, and what the process may not do.

# Each test has its own $grpc; awk has dollars too.
# shellcheck disable=SC2016,SC2030,SC2031

load helpers

CLIENT=$BATS_TEST_DIRNAME/../grpc/client

setup() {
	need root fuse /usr/bin/python3
	/usr/bin/python3 -c 'import grpc' 2>/dev/null || skip "needs python3-grpcio"
	scratch
	mkdir -p root
	start_snapshotter
	start_grpc
}

teardown() {
	stop "${grpc:-}"
	stop "${snapshotter:-}"
	scratch_end
}

start_snapshotter() {
	daxfs-snapshotter --root "$S/root" --state "$S/state" "$@" \
		</dev/null >/dev/null 2>>"$S/snapshotter.log" 3>&- &
	snapshotter=$!
	await "$S/state/daxfs.sock" "$snapshotter"
}

start_grpc() {
	daxfs-grpc --address "$S/grpc.sock" --state "$S/state" "$@" \
		</dev/null >/dev/null 2>>"$S/grpc.log" 3>&- &
	grpc=$!
	await "$S/grpc.sock" "$grpc"
}

# Somebody listens there, within some seconds.
await() { # SOCKET PID
	for _ in {1..500}; do
		! /usr/bin/python3 -c 'import socket, sys
socket.socket(socket.AF_UNIX).connect(sys.argv[1])' "$1" 2>/dev/null || return 0
		kill -0 "$2" || break
		sleep 0.02
	done
	cat "$S"/*.log
	return 1
}

stop() { # PID [SIGNAL]
	[[ -n $1 ]] || return 0
	kill "-${2:-TERM}" "$1" 2>/dev/null || return 0
	wait "$1" || true
}

# The client's test must pass, and the daemon outlive it.
client() {
	run_x env PYTHONDONTWRITEBYTECODE=1 "$CLIENT" "$S/grpc.sock" "$@"
	assert_output --partial "passed $1"
}

@test "a life of snapshots" {
	client calls
}

@test "status codes and messages" {
	client errors
	kill -0 "$grpc"
}

@test "small windows" {
	client windows
}

@test "deadlines and cancelled calls while the snapshotter hangs" {
	client stopped "$snapshotter"
}

@test "health" {
	client health
}

@test "health is watched through a kill and a restart" {
	"$CLIENT" "$S/grpc.sock" watch >states 2>/dev/null 3>&- &
	local watcher=$! i
	local want=1
	for i in 1 2 3; do
		for _ in {1..500}; do
			[[ $(tail -n 1 states) != "$want" ]] || break
			sleep 0.02
		done
		[[ $i != 1 ]] || { stop "$snapshotter" KILL && want=2; }
		[[ $i != 2 ]] || { start_snapshotter && want=1; }
	done
	kill "$watcher"
	wait "$watcher" || true
	assert_equal "$(paste -sd' ' states)" "1 2 1"
}

@test "no call fails while the snapshotter is killed again and again" {
	local seconds=6 kills=5

	[[ -z ${LONG:-} ]] || { seconds=60 kills=100; }
	"$CLIENT" "$S/grpc.sock" load "$seconds" >load.out 2>&1 3>&- &
	local load=$! i
	for ((i = 0; i < kills; i++)); do
		sleep 0.5
		stop "$snapshotter" KILL
		start_snapshotter
	done
	wait "$load" || { cat load.out grpc.log && return 1; }
	cat load.out
	grep -q '^rounds: [1-9]' load.out
}

@test "SIGTERM: running calls are answered" {
	client goaway "$grpc"
	wait "$grpc"
	grpc=
}

field_of() { # NAME PID
	awk -v n="$1:" '$1 == n { print $2; exit }' "/proc/$2/status"
}

@test "the process is confined" {
	client calls
	assert_equal "$(field_of Seccomp "$grpc")" 2
	assert_equal "$(field_of NoNewPrivs "$grpc")" 1
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		assert_equal "$(field_of $set "$grpc")" 0000000000000000
	done
	run_x awk '/^Max core/ { print $6 } /^Max open/ { print $5 }' \
		"/proc/$grpc/limits"
	assert_output $'0\n256'
	# of files it has none but its log
	run_x find "/proc/$grpc/fd" -type l -lname '/*' ! -lname /dev/null \
		! -lname '*/bats-run-*' -printf '%l\n'
	assert_output "$S/grpc.log"
}

# To the sockets in the scratch folder.
let_others_in() {
	local d=$S

	while [[ $d != / ]]; do
		[[ -z $(find "$d" -maxdepth 0 ! -perm -o=x) ]] || chmod o+x "$d"
		d=$(dirname "$d")
	done
}

@test "the process becomes another user, who may ask the snapshotter" {
	stop "$grpc"
	stop "$snapshotter"
	printf '[snapshotter]\nuser = nobody\n[grpc]\nuser = nobody\n' >conf
	let_others_in
	start_snapshotter --config conf
	start_grpc --config conf
	client calls
	run_x awk '/^(Uid|Gid):/ { $1 = ""; print }' "/proc/$grpc/status"
	assert_equal "$(field_of Groups "$grpc")" ""
	assert_output " 65534 65534 65534 65534
 65534 65534 65534 65534"
	# and not if the snapshotter does not know that user
	stop "$snapshotter"
	start_snapshotter
	run_x 1 env PYTHONDONTWRITEBYTECODE=1 "$CLIENT" "$S/grpc.sock" calls
	assert_output --partial UNAVAILABLE
	assert_output --partial 'Permission denied'
}

@test "a user that does not exist" {
	printf '[grpc]\nuser = no-such-user\n' >conf
	run_x 1 daxfs-grpc --address "$S/other.sock" --state "$S/state" --config conf
	assert_output --partial 'cannot look up the user to become'
	assert_output --partial 'user=no-such-user'
}

@test "metrics and health over HTTP, from the confined process" {
	stop "$grpc"
	printf '[grpc]\nmetrics_address = 127.0.0.1:0\n' >conf
	start_grpc --config conf
	local port url
	port=$(sed -n 's/.*msg="serving metrics".* port=\([0-9]*\).*/\1/p' grpc.log)
	url=http://127.0.0.1:$port
	client calls
	run_x "$REPO/tests/grpc/metrics" "$url/metrics"
	assert_line 'daxfs_grpc_call_seconds_count code=OK method=Prepare 2'
	assert_line 'daxfs_grpc_call_seconds_count code=FailedPrecondition method=Remove 1'
	assert_line --regexp '^daxfs_grpc_connections_total outcome=served [1-9]'
	assert_line 'daxfs_up 1'
	assert_line --regexp '^daxfs_snapshotter_.* [0-9]'
	run_x /usr/bin/python3 -c 'import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1]).read())' "$url/healthz"
	assert_output "b'ok\\n'"
	assert_equal "$(field_of Seccomp "$grpc")" 2
	stop "$snapshotter" KILL
	run_x "$REPO/tests/grpc/metrics" "$url/metrics"
	assert_line 'daxfs_up 0'
	start_snapshotter # it ends the pool's process, too
}

@test "silent clients do not keep others out" {
	run_x /usr/bin/python3 "$BATS_TEST_DIRNAME/../grpc/silent" \
		"$S/grpc.sock" "$CLIENT"
	assert_output --partial "passed calls"
}
