#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The daemons under a service manager: readiness, watchdog, sockets that it
# holds, signals. The manager is tests/tools/manager.c.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	need root fuse
	scratch
	mkdir state
	pids=()
}

# End what a test started, the last first, then what outlives the snapshotter.
teardown() {
	local i

	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
		kill -TERM "${pids[i]}" 2>/dev/null || true
		gone "${pids[i]}" || kill -KILL "${pids[i]}"
	done
	for p in $(servers); do kill -CONT "$p" && kill -TERM "$p"; done
	no_servers
	scratch_end
}

gone() { # PID
	eventually 150 is_gone "$1"
}

is_gone() {
	local stat

	read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
	[[ ${stat##*) } == Z* ]]
}

eventually() { # TENTHS, COMMAND...
	local i

	for ((i = $1; i > 0; i--)); do
		! "${@:2}" || return 0
		sleep 0.1
	done
	"${@:2}"
}

said() { # FILE, TEXT, [TIMES]
	[[ $(grep -cF -- "$2" "$1" 2>/dev/null) -ge ${3:-1} ]]
}

managed() { # NAME, ARGUMENTS...: $pid is the manager's
	local name=$1
	shift

	"$BUILD/tools/manager" "$@" >"$name.told" 2>"$name.log" 3>&- &
	pid=$!
	pids+=("$pid")
	eventually 200 said "$name.told" READY=1 || {
		cat "$name.told" "$name.log"
		return 1
	}
}

snapshotter() { # MANAGER'S ARGUMENTS... -- DAEMON'S ARGUMENTS...
	managed snapshotter "${@:1:$#-1}" "$BUILD/daxfs-snapshotter" \
		--config "${*:$#}"
	daemon=$(awk '$1 == "started" { print $2 }' snapshotter.told)
}

config() { # LINES FOR [snapshotter], \n BETWEEN THEM
	printf '[snapshotter]\nroot = %s/root\nstate = %s/state\n%b\n' \
		"$S" "$S" "pool_size = 64M\n$1" >conf
	printf '[grpc]\nstate = %s/state\naddress = %s/grpc.sock\n' \
		"$S" "$S" >>conf
}

call() { # METHOD, PARAMETERS
	timeout 30 "$BUILD/tools/vcall" state/daxfs.sock \
		"{\"method\":\"io.daxfs.Snapshots.$1\",\"parameters\":$2}"
}

@test "the manager is told of start and end" {
	config
	snapshotter -- conf
	run_x grep -cx -e READY=1 -e STATUS=serving snapshotter.told
	assert_output 2
	run -0 call Prepare '{"key":"a"}'
	kill -TERM "$pid"
	gone "$pid"
	run_x tail -n 3 snapshotter.told
	assert_line --index 0 STOPPING=1
	assert_line --index 2 "ended 0"
	refute [ -S state/daxfs.sock ]
	refute grep -q WATCHDOG snapshotter.told
}

@test "the watchdog hears of us as long as a worker answers" {
	config 'workers = 2'
	snapshotter -w 600 -- conf
	eventually 100 said snapshotter.told WATCHDOG=1 3
	run -0 call Prepare '{"key":"a"}'
	fuse=$(servers)
	kill -STOP "$fuse"
	call Usage '{"key":"a"}' >one 3>&- &
	call Usage '{"key":"a"}' >two 3>&- &
	eventually 100 said snapshotter.log "our own socket does not answer"
	before=$(grep -c WATCHDOG=1 snapshotter.told)
	sleep 1
	run_x grep -c WATCHDOG=1 snapshotter.told
	assert_output "$before"
	kill -CONT "$fuse"
	eventually 100 said snapshotter.told WATCHDOG=1 $((before + 3))
	wait %2 %3
	run_x cat one two
	assert_line --regexp '"inodes"'
}

@test "no connection fails while a daemon restarts whose socket is held" {
	config
	snapshotter -l "$S/state/daxfs.sock" -- conf
	ino=$(stat -c %i state/daxfs.sock)
	for _ in {1..150}; do
		"$BUILD/tools/vcall" state/daxfs.sock \
			'{"method":"org.varlink.service.GetInfo"}' >/dev/null || echo $?
		sleep 0.01
	done >failures 2>&1 3>&- &
	for n in 2 3 4; do
		kill -HUP "$pid"
		eventually 100 said snapshotter.told READY=1 "$n"
	done
	wait $!
	# 4: the connection was there when the daemon ended
	run grep -vx 4 failures
	assert_output ""
	run_x stat -c %i state/daxfs.sock
	assert_output "$ino"
	run_x grep -c '^started' snapshotter.told
	assert_output 4
}

@test "a socket elsewhere is refused" {
	config
	run timeout 30 "$BUILD/tools/manager" -l "$S/other" -- \
		"$BUILD/daxfs-snapshotter" --config conf 3>&-
	assert_failure 1
	assert_output --partial "passed 1 socket, but none that listens at $S/state/daxfs.sock"
	run timeout 30 "$BUILD/tools/manager" -l "$S/other" -- \
		"$BUILD/daxfs-grpc" --config conf 3>&-
	assert_failure 1
	assert_output --partial "passed 1 socket, but none that listens at $S/grpc.sock"
}

health() {
	head -c 5 /dev/zero | curl -s -m 20 --http2-prior-knowledge -D - -o /dev/null \
		--unix-socket grpc.sock -H 'content-type: application/grpc' \
		-H 'te: trailers' --data-binary @- \
		http://daxfs/grpc.health.v1.Health/Check
}

@test "daxfs-grpc: held socket, readiness, watchdog" {
	need curl
	config
	snapshotter -l "$S/state/daxfs.sock" -- conf
	managed grpc -w 600 -l "$S/grpc.sock" -- "$BUILD/daxfs-grpc" --config conf
	run -0 health
	assert_output --partial "grpc-status: 0"
	eventually 100 said grpc.told WATCHDOG=1 3
	for _ in {1..40}; do
		health >/dev/null || echo $?
	done >failures 2>&1 3>&- &
	for n in 2 3; do
		kill -HUP "$pid"
		eventually 150 said grpc.told READY=1 "$n"
	done
	wait $!
	# 7 is curl's for a connection that cannot be made
	run_x grep -cx 7 failures || [[ $output == 0 ]]
	kill -TERM "$pid"
	gone "$pid"
	run_x grep -A 9 '^STOPPING=1' grpc.told
	assert_line --index 0 STOPPING=1
	assert_line "ended 0"
}

# A call that cannot end: daxfs-fuse does not run.
hang() {
	run -0 call Prepare '{"key":"a"}'
	fuse=$(servers)
	kill -STOP "$fuse"
	call Prepare '{"key":"b"}' >/dev/null 3>&- &
	eventually 100 row_of b
}

row_of() {
	[[ $(sqlite3 root/metadata.db "SELECT count(*) FROM snapshots WHERE name = '$1'") == 1 ]]
}

@test "a stop waits for running calls so long, and the next start cleans up" {
	need sqlite3
	config 'stop_timeout = 1'
	snapshotter -- conf
	hang
	kill -TERM "$pid"
	gone "$pid"
	run_x tail -n 1 snapshotter.told
	assert_output "ended 0"
	run_x grep -F "stopped at once" snapshotter.log
	assert_output --partial "reason=stop_timeout"
	kill -CONT "$fuse"
	snapshotter -- conf
	run -0 call Stat '{"key":"a"}'
	run -2 call Stat '{"key":"b"}'
	run -0 call Prepare '{"key":"b"}'
}

@test "asked twice, it stops at once" {
	need sqlite3
	config 'stop_timeout = 3600'
	snapshotter -- conf
	hang
	kill -TERM "$daemon"
	eventually 50 said snapshotter.told STOPPING=1
	refute is_gone "$pid"
	kill -TERM "$daemon"
	gone "$pid"
	run_x grep -F "stopped at once" snapshotter.log
	assert_output --partial 'reason="asked twice"'
	kill -CONT "$fuse"
}

@test "SIGHUP reads the configuration again" {
	config
	snapshotter -- conf
	refute said snapshotter.log level=debug
	config 'log_level = debug\nslow_call_ms = 77'
	kill -HUP "$daemon"
	eventually 50 said snapshotter.log "configuration read again"
	run_x grep -F "configuration read again" snapshotter.log
	assert_output --partial "level=debug slow_call_ms=77"
	run -0 call Prepare '{"key":"a"}'
	said snapshotter.log level=debug
	run_x grep -A 3 RELOADING=1 snapshotter.told
	assert_line --index 2 READY=1
	config 'log_level = loud'
	kill -HUP "$daemon"
	eventually 50 said snapshotter.log "configuration not taken over"
	run_x grep -F "configuration not taken over" snapshotter.log
	assert_output --partial "error=\"conf:5: log_level = loud"
	run -0 call Stat '{"key":"a"}'
}

# Programs, of which daxfs-fuse never answers; its process id goes to ./pid.
stuck() {
	mkdir bin
	cp "$BUILD/daxfs-snapshotter" "$BUILD/mkdaxfs" bin/
	printf '#!/bin/sh\necho "waiting for nothing" >&2\necho $$ >%s/pid; exec sleep 1000\n' \
		"$S" >bin/daxfs-fuse
	chmod +x bin/daxfs-fuse
}

@test "a daxfs-fuse that does not start is given up" {
	config 'start_timeout = 1'
	stuck
	run_x 1 bin/daxfs-snapshotter --config conf
	assert_output --partial "the pool $S/root/pool.daxfs cannot be served: daxfs-fuse: not done after 1 s (start_timeout); it said: waiting for nothing"
	is_gone "$(cat pid)"
}

@test "asked to stop while it starts, it stops" {
	config 'start_timeout = 3600'
	stuck
	"$BUILD/tools/manager" -- bin/daxfs-snapshotter --config conf \
		>snapshotter.told 2>snapshotter.log 3>&- &
	pid=$!
	pids+=("$pid")
	eventually 100 test -s pid
	kill -TERM "$pid"
	gone "$pid"
	kill "$(cat pid)"
	run_x grep -F "stopped at once" snapshotter.log
	assert_output --partial 'reason="not serving yet"'
	run_x tail -n 1 snapshotter.told
	assert_output "ended 0"
}
