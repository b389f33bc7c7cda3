# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What all bats files share: `load helpers`. Each test has a scratch folder of
# its own, $S, which is the working directory and holds the servers' state too.

bats_load_library bats-support
bats_load_library bats-assert
bats_load_library bats-file

REPO=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
: "${BUILD:=$REPO/build}"
[[ :$PATH: == *:$BUILD:* ]] || PATH=$BUILD:$PATH
export PATH

# A command that takes longer hangs.
: "${RUN_TIMEOUT:=60}"

setup() {
	scratch
}

teardown() {
	scratch_end
}

scratch() {
	S=$(mktemp -d "${TMPDIR:-/tmp}/daxfs.XXXXXX")
	export S DAXFS_STATE=$S/state
	cd "$S" || return 1
}

# Unmount and end what a test left, and fail for it. A test that has failed
# already may leave things.
scratch_end() {
	local left pids m

	cd / || return 1
	# skipped before there was one: without it everything would be below it
	[[ -n ${S:-} ]] || return 0
	left=$(scratch_mounts)
	while read -r m; do
		[[ -z $m ]] || umount -l "$m"
	done < <(sort -r <<<"$left")
	if ! pids=$(no_servers); then
		left+="${left:+$'\n'}daxfs-fuse: $pids"
		# shellcheck disable=SC2086 # a list of numbers
		kill -KILL $pids
	fi
	rm -rf --one-file-system "$S"
	if [[ -n $left && ${BATS_TEST_COMPLETED:-} == 1 ]]; then
		echo "left behind: $left"
		return 1
	fi
}

scratch_mounts() {
	[[ -n ${S:-} ]] || return 1
	awk -v s="$S/" 'index($5, s) == 1 { print $5 }' /proc/self/mountinfo
}

# Servers of regions in the scratch folder, or processes of another name.
servers() {
	local p comm

	for p in /proc/[0-9]*; do
		read -r comm 2>/dev/null <"$p/comm" || continue
		[[ $comm == "${1:-daxfs-fuse}" ]] || continue
		if [[ $(readlink "$p/cwd" 2>/dev/null) == "$S"* ]] ||
			grep -qaF -- "$S" "$p/cmdline" "$p/maps" 2>/dev/null; then
			echo "${p#/proc/}"
		fi
	done
}

# What starts a server that was killed again.
keepers() {
	servers daxfs-keeper
}

# Kill the server so that no other takes its place.
kill_server() {
	local pid

	pid=$(servers)
	[[ -n $pid ]]
	kill -STOP "$pid" # or it would start another keeper
	# shellcheck disable=SC2046 # a list of numbers
	kill -KILL $(keepers) "$pid"
	no_servers
}

# True once there are none, within a few seconds; else prints their pids.
no_servers() {
	local pids

	for _ in {1..250}; do
		pids=$({
			servers
			keepers
		} | paste -sd' ')
		[[ -n $pids ]] || return 0
		sleep 0.02
	done
	echo "$pids"
	return 1
}

# run_x [RC] COMMAND...: run, with a time limit, and expect this exit status
# (0). Sets $output and $lines as bats' run does.
run_x() {
	local want=0

	if [[ $1 =~ ^[0-9]+$ ]]; then
		want=$1
		shift
	fi
	run timeout --foreground -k 5 "$RUN_TIMEOUT" "$@" 3>&-
	# shellcheck disable=SC2154 # set by run
	[[ $status -eq $want ]] && return
	echo "exit status $status, expected $want: $*"
	# shellcheck disable=SC2154 # set by run
	echo "$output"
	return 1
}

# need root fuse ...: skip the test where something is missing.
need() {
	local what

	for what in "$@"; do
		case $what in
		root) [[ $UID -eq 0 ]] || skip "needs root" ;;
		fuse) [[ -c /dev/fuse ]] || skip "needs /dev/fuse" ;;
		*) command -v "$what" >/dev/null || skip "needs $what" ;;
		esac
	done
}
