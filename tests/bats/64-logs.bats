#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the daemons log: one request's id in all of them, slow calls, valid JSON
# whatever is named how, and files that do not grow for ever.

bats_require_minimum_version 1.5.0
load helpers
load snapshotter

setup() {
	need root fuse jq
	scratch
	GRPC=
}

teardown() {
	if [[ -n $GRPC ]]; then
		kill -TERM "$GRPC" 2>/dev/null
		wait "$GRPC" || true
	fi
	snapshotter_end
}

config() { # LINES FOR [snapshotter], LINES FOR [fuse]
	printf '[snapshotter]\npool_size = 64M\n%b\n[fuse]\n%b\n' "$1" "$2" >conf
}

# A call as containerd makes it: METHOD, with "daxfs" and a key of one letter.
grpc_call() { # METHOD, LETTER
	printf '\0\0\0\0\012\012\005daxfs\022\001%s' "$2" >body
	curl -s -m 20 --http2-prior-knowledge -D - -o /dev/null \
		--unix-socket grpc.sock -H 'content-type: application/grpc' \
		-H 'te: trailers' --data-binary @body \
		"http://daxfs/containerd.services.snapshots.v1.Snapshots/$1"
}

# The request id in the line of FILE that has all of the texts.
request_in() { # FILE, TEXT...
	local file=$1 lines

	shift
	lines=$(cat "$file")
	for text in "$@"; do
		lines=$(grep -F -- "$text" <<<"$lines") || return 1
	done
	[[ $lines =~ request=([^ ]+) ]] && echo "${BASH_REMATCH[1]}"
}

@test "one id follows a call through the three daemons" {
	need curl
	config 'log_level = debug' 'log_level = debug'
	snapshotter_start --config conf
	daxfs-grpc --config conf --state "$S/state" --address "$S/grpc.sock" \
		--log-level debug 2>grpc.log 3>&- &
	GRPC=$!
	for _ in {1..100}; do [[ ! -S grpc.sock ]] || break; sleep 0.05; done
	for key in a b; do
		run -0 grpc_call Prepare $key
		assert_output --partial "grpc-status: 0"
		id=$(request_in log method=io.daxfs.Snapshots.Prepare "object=$key")
		run -0 grep -F "request=$id" grpc.log
		assert_output --partial "Snapshots/Prepare"
		run -0 grep -F "request=$id" state/fuse/pool.log
		assert_output --partial "method=io.daxfs.Branches.Create"
		echo "$id" >>ids
	done
	run -0 sort -u ids
	assert_equal "${#lines[@]}" 2
	# who comes without an id gets one
	call io.daxfs.Snapshots.Stat '{"key": "a"}'
	request_in log method=io.daxfs.Snapshots.Stat
}

@test "a slow call is a warning, with its time and its object" {
	need sqlite3
	config 'slow_call_ms = 200'
	snapshotter_start --config conf
	active quick
	refute grep -q "slow call" log
	fuse=$(servers)
	kill -STOP "$fuse"
	active late 3>&- &
	caller=$!
	for _ in {1..100}; do
		[[ -z $(sqlite3 root/metadata.db \
			"SELECT 1 FROM snapshots WHERE name = 'late'") ]] || break
		sleep 0.05
	done
	sleep 0.3
	kill -CONT "$fuse"
	wait "$caller"
	run -0 grep -F "slow call" log
	assert_output --partial "level=warn"
	assert_output --partial "method=io.daxfs.Snapshots.Prepare object=late"
	[[ $output =~ ms=([0-9]+) && ${BASH_REMATCH[1]} -ge 200 ]]
}

@test "each line is JSON, whatever bytes a name has" {
	config 'log_level = debug\nlog_format = json' \
		'log_level = debug\nlog_format = json'
	snapshotter_start --config conf
	for key in 'q\"uote' 'back\\slash' 'line\nbreak' 'c\u0001\u007f' 'é☃😀' \
		'\u0085\u2028' '{"x":1}'; do
		key=${key//\{\"x\":1\}/{\\\"x\\\":1\}}
		active "$key" >/dev/null
		run call io.daxfs.Snapshots.Prepare "{\"key\": \"$key\"}"
	done
	# a name that is none, and bytes that are no UTF-8, from a bare socket
	printf '{"method":"io.daxfs.Snapshots.Stat","parameters":{"key":"\377\376"}}\0' >raw
	timeout 10 "$BUILD/tools/vcall" state/daxfs.sock "$(tr -d '\0' <raw)" || true
	long=$(printf '%04000d' 1)
	run call io.daxfs.Snapshots.Stat "{\"key\": \"$long\"}"
	snapshotter_stop
	for f in log state/fuse/pool.log; do
		run -0 jq -se 'length > 10 and all(.time and .level and .program and .msg)' "$f"
		run -0 jq -se "length == $(wc -l <"$f")" "$f"
	done
	run -0 jq -r 'select(.object == "c\u0001\u007f").method' log
	assert_line io.daxfs.Snapshots.Prepare
}

@test "the log of daxfs-fuse begins anew when it is full" {
	config '' 'log_level = debug\nlog_size = 64K'
	snapshotter_start --config conf
	active a
	"$BUILD/tools/vcall" -n 2500 state/daxfs.sock \
		'{"method":"io.daxfs.Snapshots.Usage","parameters":{"key":"a"}}' >/dev/null
	cd state/fuse
	run -0 ls
	assert_line pool.log
	assert_line pool.log.1
	for f in pool.log pool.log.1; do
		[[ $(stat -c %s $f) -le 65536 ]]
		run grep -cv '^time=' $f
		assert_output 0
	done
	# the end of one is followed by the beginning of the other
	[[ $(tail -n 1 pool.log.1) < $(head -n 1 pool.log) ]]
	# the keeper, which started with a file that is gone, writes into this one
	kill -KILL "$(servers)"
	"$BUILD/tools/vcall" ../daxfs.sock \
		'{"method":"io.daxfs.Snapshots.Usage","parameters":{"key":"a"}}' >/dev/null
	run -0 grep -hF 'msg="the server died"' pool.log pool.log.1
	assert_output --partial program=daxfs-keeper
}
